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
    /// What is tried with its PXE firmware; `nil` where nothing is.
    package var strategy: FirmwareTrial.Strategy?

    package init(
      mac: MACAddress, speaker: ClientDescription.Speaker, architectures: [UInt16], server: IPv4Address, port: Int,
      strategy: FirmwareTrial.Strategy? = nil
    ) {
      self.mac = mac
      self.speaker = speaker
      self.architectures = architectures
      self.server = server
      self.port = port
      self.strategy = strategy
    }

    /// The first of its platforms that we have loaders for.
    var platform: BootPlatform? { BootPolicy.platform(architectures, speaker) }
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
      BootAnswer(
        bootFile: file, hostName: name, reason: reason, delivery: machine.strategy?.delivery,
        trial: machine.strategy?.loader.rawValue)
    }
    let chain = chain(node?.boot ?? .ipxe, for: machine)
    switch machine.speaker {
    case .ipxe:
      if let file = chain.file { return answer(file, "iPXE on \(who) gets \(chain.words) by TFTP; \(what)") }
      return answer(scriptURL(machine), "iPXE on \(who) gets its script\(chain.words); \(what)")
    case .pxeFirmware:
      guard let platform = machine.platform, let iPXE = iPXE(platform) else {
        return answer(nil, noLoader(machine.architectures))
      }
      let words = platform.rawValue
      if let file = chain.file {
        return answer(file, "\(words) firmware on \(who) gets \(chain.words) by TFTP; \(what)")
      }
      return answer(iPXE, "\(words) firmware on \(who) gets iPXE by TFTP\(chain.words); \(what)")
    case .httpFirmware:
      guard machine.platform == .uefiX64 else { return answer(nil, "HTTP boot: \(noLoader(machine.architectures))") }
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

  /// iPXE for a platform. Debian's package has it for these two alone; of GRUB and shim, what is signed is for UEFI x64.
  private static func iPXE(_ platform: BootPlatform) -> String? {
    switch platform {
    case .bios: "undionly.kpxe"
    case .uefiX64: "snponly.efi"
    case .uefiIA32, .uefiARM32, .uefiARM64, .uefiRISCV64, .uefiLoongArch64, .uBootARM: nil
    }
  }

  /// The first platform of a client's list that there is a loader for.
  static func platform(_ architectures: [UInt16], _ speaker: ClientDescription.Speaker) -> BootPlatform? {
    // RFC 4578, section 2.1, has BIOS as 0; a PXE client that leaves option 93 out is an old BIOS ROM.
    if architectures.isEmpty { return speaker == .httpFirmware ? nil : .bios }
    return architectures.lazy.compactMap(BootPlatform.init).first { iPXE($0) != nil }
  }

  private static func noLoader(_ architectures: [UInt16]) -> String {
    "no loader for \(BootPlatform.words(architectures.first)): Debian's ipxe has them for BIOS and UEFI x64"
  }

  /// The first file of another chain than iPXE's, and what it is called. Where none is set: no file and no
  /// words; where the one that is set cannot be had: no file, and the reason, to be put behind iPXE's.
  private static func chain(_ method: BootMethod, for machine: Machine) -> (file: String?, words: String) {
    func instead(_ reason: String) -> (file: String?, words: String) {
      (nil, ", although boot: \(method.rawValue) is set: \(reason)")
    }
    let platform = machine.platform
    switch method {
    case .ipxe where machine.strategy?.loader == .signed && platform == .uefiX64:
      return (signedLoader, "shim and GRUB, since it loaded iPXE which then never spoke, as with Secure Boot on,")
    case .ipxe, .local: return (nil, "")
    case _ where machine.speaker == .httpFirmware:
      return instead("that loads over TFTP, so the machine must boot by PXE")
    case .grub:
      return platform == .uefiX64 ? (signedLoader, "shim and GRUB") : instead("shim and GRUB are for UEFI x64")
    case .pxelinux:
      return platform == .bios ? ("pxelinux.0", "pxelinux") : instead("pxelinux is for BIOS")
    }
  }

  private static let signedLoader = "shimx64.efi"
}

/// The boot policy over the registry: what DHCP asks.
package struct BootPolicyAdapter: ClientPolicy {
  private let registry: Registry
  private let trials: FirmwareTrials
  private let loaders: LoaderFiles
  /// The nodes' port.
  private let port: Int
  private let refused: RefusedMachines?

  package init(
    registry: Registry, trials: FirmwareTrials, loaders: LoaderFiles, port: Int, refused: RefusedMachines? = nil
  ) {
    self.registry = registry
    self.refused = refused
    self.trials = trials
    self.loaders = loaders
    self.port = port
  }

  package func reservation(for client: ClientDescription) -> IPv4Address? {
    registry.read { view in
      // An address is set aside for a node's first card: its others take one of the pool. A card that is
      // new to a node known otherwise becomes its first.
      guard let node = view.node(of: MachineIdentity(client)),
        node.macs.first == client.hardwareAddress || !node.macs.contains(client.hardwareAddress)
      else { return nil }
      return node.address
    }
  }

  package func card(of client: ClientDescription) -> MACAddress? {
    registry.read { $0.node(of: MachineIdentity(client))?.macs.first }
  }

  package func owner(of address: IPv4Address) -> MACAddress? {
    registry.read { $0.node(reserving: address)?.macs.first }
  }

  package func isKnown(_ card: MACAddress) -> Bool { registry.read { $0.node(with: card) != nil } }

  package var waiting: Int { registry.read { $0.waitingNodes } }

  package func boot(for client: ClientDescription) -> BootAnswer {
    let defaults = registry.defaults
    let (node, vnfs, generation) = registry.read { view in
      let node = view.node(of: MachineIdentity(client)).map { view.effective($0, defaults) }
      let vnfs = node?.vnfs ?? view.groups[defaults.group]?.settings.vnfs ?? defaults.vnfs
      return (node, vnfs, view.capsules[vnfs]?.currentGeneration)
    }
    if client.hardwareAddress.rawValue == 0 {
      let identifier = MachineIdentity.hexadecimal(client.clientIdentifier ?? [], separator: ":")
      return BootAnswer(
        bootFile: nil,
        reason: "it has no Ethernet address, and no node has its client identifier: "
          + "perseid node set clientid \(identifier) NODE")
    }
    if node == nil, registry.discovery == .refuse, [.pxeFirmware, .httpFirmware, .ipxe].contains(client.speaker) {
      refused?.refused(client.hardwareAddress)
      return BootAnswer(
        bootFile: nil,
        reason: "it is no node, and unknown machines are refused (discovery: refuse): "
          + "perseid node add \(client.hardwareAddress) NAME")
    }
    var machine = BootPolicy.Machine(
      mac: client.hardwareAddress, speaker: client.speaker, architectures: client.architectures,
      server: client.serverAddress, port: port)
    if client.speaker == .pxeFirmware {
      machine.strategy = trials.strategy(for: client, platform: machine.platform) {
        maySign(client.hardwareAddress, machine.platform)
      }
    }
    return BootPolicy.answer(machine, node: node, vnfs: vnfs, generation: generation)
  }

  /// Whether shim and GRUB may be tried where iPXE is silent: the machine can run them, nobody has set how it boots, and
  /// they are there.
  package func maySign(_ mac: MACAddress, _ platform: BootPlatform?) -> Bool {
    let isSet = registry.read { view in
      let node = view.node(with: mac)
      if node?.settings.boot != nil { return true }
      let groups = node?.groups(registry.defaults) ?? [registry.defaults.group]
      return groups.contains { view.groups[$0]?.settings.boot != nil }
    }
    return platform == .uefiX64 && !isSet && (try? loaders.check(.grub)) != nil
  }
}
