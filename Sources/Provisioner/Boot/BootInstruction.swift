import CapsuleFormat
package import NetworkTypes
package import StateProtocol

/// What a machine does next that asks for its script, in whatever language its loader speaks.
package enum BootInstruction: Hashable, Sendable {
  case start(Start)
  /// There is nothing to start yet: it asks again.
  case wait(reason: String)
  /// It goes on to its next boot device.
  case leave(reason: String)

  /// Kernel and initramfs of a boot.
  package struct Start: Hashable, Sendable {
    package var boot: Boot
    /// The capsule's words for the kernel, and the node's.
    package var arguments: [String]
    package var kernelBytes: Int64
    package var initramfsBytes: Int64
    /// Other appliances, which stage 1 turns to in this order where the one that it booted from does not answer.
    package var standby: [NodeRecord.Server]

    package init(
      boot: Boot, arguments: [String], kernelBytes: Int64, initramfsBytes: Int64, standby: [NodeRecord.Server] = []
    ) {
      self.standby = standby
      self.boot = boot
      self.arguments = arguments
      self.kernelBytes = kernelBytes
      self.initramfsBytes = initramfsBytes
    }

    /// The kernel's command line. A kernel that cannot go on restarts the machine, as stage 1 does: the last word of a
    /// name counts, so a capsule or a node can say otherwise.
    /// - Parameters:
    ///   - server: Where the node finds the appliance, and at which port its HTTP.
    ///   - loader: Words that this loader alone needs.
    package func commandLine(server: IPv4Address, port: Int, loader: [String] = []) -> String {
      let servers = ["\(server):\(port)"] + standby.filter { $0.address != server }.map(\.description)
      let words = [
        "perseid.server=\(servers.joined(separator: ","))", "perseid.boot=\(boot.id)",
        "BOOTIF=01-\(boot.mac.formatted(separator: "-"))",
      ]
      return (words + loader + ["panic=30", "console=tty0", "console=ttyS0,115200"] + arguments).joined(separator: " ")
    }

    /// For a person at the console.
    var title: String {
      "\(boot.node), capsule \(boot.vnfs), generation \(boot.generation.map(String.init) ?? "none")"
    }
  }

  /// Seconds until a machine asks again: `base`, and up to half as much more, so that machines that failed
  /// together do not come back together.
  static func pause(_ base: Int, for mac: MACAddress) -> Int {
    base + Int(mac.rawValue &* 2_654_435_761 >> 8 & 0xFFFF) % (base / 2 + 1)
  }
}

/// Who asks for a script.
package struct ScriptRequest: Hashable, Sendable {
  package var mac: MACAddress
  package var guid: String?
  package var address: IPv4Address
  /// How many times it says that it has asked before.
  package var attempt: Int
  /// The server it asks.
  package var source: TimelineEvent.Source

  package init(
    mac: MACAddress, guid: String? = nil, address: IPv4Address, attempt: Int = 0, source: TimelineEvent.Source
  ) {
    self.mac = mac
    self.guid = guid
    self.address = address
    self.attempt = attempt
    self.source = source
  }
}

/// Decides what a machine does that asks for its script: the same for every loader.
package struct InstructionMaker: Sendable {
  private let ledger: BootLedger
  private let catalog: CapsuleCatalog
  private let standby: [NodeRecord.Server]

  package init(ledger: BootLedger, catalog: CapsuleCatalog, standby: [NodeRecord.Server] = []) {
    self.standby = standby
    self.ledger = ledger
    self.catalog = catalog
  }

  /// Binds the machine's boot, and says so in its timeline. The boot is on the disk on return.
  package func instruction(for request: ScriptRequest) async throws -> BootInstruction {
    do {
      return try await make(request)
    } catch {
      ledger.record(request.mac, request.source, "script", "failed: \(error)")
      throw error
    }
  }

  private func make(_ request: ScriptRequest) async throws -> BootInstruction {
    let bound: BootLedger.Bound
    do {
      bound = try await ledger.bind(
        BootLedger.Request(
          mac: request.mac, guid: request.guid, address: request.address, phase: .script, isAgain: request.attempt > 0))
    } catch let error as ApplianceError where error.code == .refused {
      return .leave(reason: error.message)
    }
    let node = bound.node
    func said(_ words: String) {
      let again = request.attempt > 0 ? " (asked before: \(request.attempt))" : ""
      ledger.record(request.mac, request.source, "script", words + again)
    }
    guard node.enabled else {
      let reason = "\(node.name) is disabled"
      said(reason)
      return .leave(reason: reason)
    }
    guard node.boot != .local else {
      let reason = "\(node.name) boots from its own disk"
      said(reason)
      return .leave(reason: reason)
    }
    guard let digest = bound.boot.digest else {
      let reason = "capsule \(bound.boot.vnfs) of \(node.name) is not there: import it, or assign another"
      said(reason)
      return .wait(reason: reason)
    }
    let files = try catalog.files(of: digest)
    said("capsule \(bound.boot.vnfs), generation \(bound.boot.generation ?? 0), for \(node.name)")
    return .start(
      BootInstruction.Start(
        boot: bound.boot, arguments: [files.config.kernelArguments, node.kernelArgs].filter { !$0.isEmpty },
        kernelBytes: files.kernel.size, initramfsBytes: files.initramfs.size + files.stage1.size,
        standby: standby))
  }
}
