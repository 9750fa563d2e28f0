package import DHCP
package import NetworkTypes

/// What a machine boots first: the one place that decides.
package enum BootPolicy {
  /// The program on a machine that asks.
  package struct Machine: Hashable, Sendable {
    package var mac: MACAddress
    package var speaker: ClientDescription.Speaker
    /// IANA processor architecture types, in the client's order.
    package var architectures: [UInt16]
    /// Our address as the machine reaches it, and the nodes' port.
    package var server: IPv4Address
    package var port: Int

    package init(
      mac: MACAddress, speaker: ClientDescription.Speaker, architectures: [UInt16], server: IPv4Address, port: Int
    ) {
      self.mac = mac
      self.speaker = speaker
      self.architectures = architectures
      self.server = server
      self.port = port
    }
  }

  /// - Parameters:
  ///   - node: `nil` for a machine that is no node yet.
  ///   - generation: Of the capsule that is assigned to it; `nil` where that does not exist.
  ///   - vnfs: The name of that capsule.
  package static func answer(
    _ machine: Machine, node: EffectiveNode?, vnfs: String, generation: CapsuleRecord.Generation?
  ) -> BootAnswer {
    let name = node?.name
    if let node, !node.enabled {
      return BootAnswer(bootFile: nil, hostName: name, reason: "\(node.name) is disabled")
    }
    if let node, node.boot == .local {
      return BootAnswer(bootFile: nil, hostName: name, reason: "\(node.name) boots from its own disk (boot: local)")
    }
    let who = name ?? "a machine that is no node yet"
    // Made only where it is said.
    var what: String {
      generation.map { "capsule \(vnfs), generation \($0.number)" } ?? "capsule \(vnfs) is not there: it will wait"
    }
    func answer(_ file: String?, _ reason: String) -> BootAnswer {
      BootAnswer(bootFile: file, hostName: name, reason: reason)
    }
    let chain = chain(node?.boot ?? .ipxe, for: machine)
    switch machine.speaker {
    case .ipxe:
      if let file = chain.file { return answer(file, "iPXE on \(who) gets \(chain.words) by TFTP; \(what)") }
      return answer(scriptURL(machine), "iPXE on \(who) gets its script\(chain.words); \(what)")
    case .pxeFirmware:
      let platform = Platform(machine.architectures)
      guard let platform else { return answer(nil, "no loader for \(words(machine.architectures.first))") }
      if let file = chain.file {
        return answer(file, "\(platform.words) firmware on \(who) gets \(chain.words) by TFTP; \(what)")
      }
      return answer(
        platform.iPXE, "\(platform.words) firmware on \(who) gets iPXE by TFTP\(chain.words); \(what)")
    case .httpFirmware:
      guard let architecture = machine.architectures.first(where: { $0 == 16 }) ?? machine.architectures.first,
        architecture == 16
      else { return answer(nil, "no loader for UEFI HTTP boot on \(words(machine.architectures.first))") }
      return answer(
        "http://\(machine.server):\(machine.port)/loader/snponly.efi",
        "UEFI HTTP boot on \(who) gets iPXE by HTTP\(chain.words); \(what)")
    case .perseid:
      return answer(nil, "our own client is past booting")
    case .other:
      return answer(nil, "an operating system or another device: nothing to boot")
    }
  }

  package static func scriptURL(_ machine: Machine) -> String {
    "http://\(machine.server):\(machine.port)/ipxe?mac=\(machine.mac)"
  }

  /// Machines that we have loaders for.
  private enum Platform {
    case bios
    case uefi64

    /// The first architecture of a client's list that we have loaders for.
    init?(_ architectures: [UInt16]) {
      // RFC 4578, section 2.1, has BIOS as 0; a PXE client that leaves option 93 out is an old BIOS ROM.
      for architecture in architectures.isEmpty ? [0] : architectures {
        switch architecture {
        case 0: self = .bios
        // 7 is what the RFC calls EFI BC and firmware sends for x64; 9 is its x86-64 (errata 4625).
        case 7, 9: self = .uefi64
        default: continue
        }
        return
      }
      return nil
    }

    var iPXE: String { self == .bios ? "undionly.kpxe" : "snponly.efi" }
    var words: String { self == .bios ? "BIOS" : "UEFI x64" }
  }

  /// The first file of another chain than iPXE's, and what it is called. Where none is set: no file and no
  /// words; where the one that is set cannot be had: no file, and the reason, to be put behind iPXE's.
  private static func chain(_ method: BootMethod, for machine: Machine) -> (file: String?, words: String) {
    func instead(_ reason: String) -> (file: String?, words: String) {
      (nil, ", although boot: \(method.rawValue) is set: \(reason)")
    }
    let platform = Platform(machine.architectures)
    switch method {
    case .ipxe, .local: return (nil, "")
    case _ where machine.speaker == .httpFirmware:
      return instead("that loads over TFTP, so the machine must boot by PXE")
    case .grub:
      return platform == .uefi64 ? ("shimx64.efi", "shim and GRUB") : instead("shim and GRUB are for UEFI x64")
    case .pxelinux:
      return platform == .bios ? ("pxelinux.0", "pxelinux") : instead("pxelinux is for BIOS")
    }
  }

  private static func words(_ architecture: UInt16?) -> String {
    switch architecture {
    case 0: "BIOS"
    case 6, 15: "UEFI on 32-bit x86"
    case 7, 9, 16: "UEFI on x64"
    case 10, 18: "UEFI on 32-bit ARM"
    case 11, 19: "UEFI on 64-bit ARM"
    case 27, 28: "UEFI on 64-bit RISC-V"
    case let number?: "architecture \(number)"
    case nil: "an architecture that the firmware does not name"
    }
  }
}

/// The boot policy over the registry: what DHCP asks.
package struct BootPolicyAdapter: ClientPolicy {
  private let registry: Registry
  /// The nodes' port.
  private let port: Int

  package init(registry: Registry, port: Int) {
    self.registry = registry
    self.port = port
  }

  package func reservation(for client: ClientDescription) -> IPv4Address? {
    registry.read { view in
      // An address is set aside for a node's first card: its others take one of the pool.
      guard let node = view.node(with: client.hardwareAddress), node.macs.first == client.hardwareAddress else {
        return nil
      }
      return node.address
    }
  }

  package func owner(of address: IPv4Address) -> MACAddress? {
    registry.read { $0.node(reserving: address)?.macs.first }
  }

  package func boot(for client: ClientDescription) -> BootAnswer {
    let defaults = registry.defaults
    let (node, vnfs, generation) = registry.read { view in
      let node = view.node(with: client.hardwareAddress).map { view.effective($0, defaults) }
      let vnfs = node?.vnfs ?? view.groups[defaults.group]?.settings.vnfs ?? defaults.vnfs
      return (node, vnfs, view.capsules[vnfs]?.currentGeneration)
    }
    let machine = BootPolicy.Machine(
      mac: client.hardwareAddress, speaker: client.speaker, architectures: client.architectures,
      server: client.serverAddress, port: port)
    return BootPolicy.answer(machine, node: node, vnfs: vnfs, generation: generation)
  }
}
