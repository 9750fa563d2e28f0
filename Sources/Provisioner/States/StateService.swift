package import NetworkTypes
package import StateProtocol

/// The appliance's side of the provisionary-state protocol: reports in, plans out.
package struct StateService: Sendable {
  private let registry: Registry
  private let ledger: BootLedger
  private let board: StatusBoard
  private let maker: PlanMaker
  private let admission: Admission
  private let standby: [NodeRecord.Server]
  private let correction = CapsuleCorrection()
  private let livesync: LivesyncKeeper

  /// Seconds after which a machine that is held asks again: soon, and later where there are many of them.
  private var heldSeconds: Int { 3 + registry.read { $0.heldNodes } / 100 }

  /// Seconds after which a machine that has to wait asks again.
  package static let waitSeconds = 10

  package init(
    registry: Registry, ledger: BootLedger, board: StatusBoard, maker: PlanMaker,
    admission: Admission = .init(limit: 0), standby: [NodeRecord.Server] = []
  ) {
    self.standby = standby
    self.admission = admission
    self.registry = registry
    self.ledger = ledger
    self.board = board
    self.maker = maker
    livesync = LivesyncKeeper(registry: registry, board: board)
  }

  /// Where a report came from.
  package struct Origin: Hashable, Sendable {
    package var client: IPv4Address
    package var server: IPv4Address

    package init(client: IPv4Address, server: IPv4Address) {
      self.client = client
      self.server = server
    }
  }

  /// - Throws: `ApplianceError` with code `invalid` where the report cannot be, `notFound` where a machine that
  ///   is no node reports another state than `init`.
  package func plan(for report: StateReport, from origin: Origin, now: Moment = .now) async throws -> Plan {
    guard NodeName.isValidState(report.state) else {
      throw ApplianceError(
        .invalid,
        "'\(report.state.prefix(64))' is not the name of a state: "
          + "\(NodeName.stateWords)."
      )
    }
    let macs = try cards(report.hardwareAddresses)
    let isInit = report.state == "init"
    let (node, boot) = try await identify(report, macs, origin, now)
    if isInit { try await join(macs, to: node.name) }
    ledger.remember(boot?.mac ?? macs[0], at: origin.client)
    if let boot { ledger.resumed(boot, phase: isInit ? .stage1 : .running, now: now) }
    let contact = board.contact(
      node.name, state: report.state, boot: boot?.id, address: report.address ?? origin.client,
      facts: report.facts.bounded, now: now)
    let card = boot?.mac ?? macs[0]
    // Who waits asks again and again.
    if contact.isNewState || (isInit && !contact.wasWaiting) || contact.wasSilent {
      ledger.record(card, .state, report.state, words(report, contact), now: now)
    }
    var plan = try await answer(report, node, boot, card, origin, now)
    let others = standby.filter { $0.address != origin.server }
    plan.otherServers = others.isEmpty ? nil : others
    if board.waits(node.name, plan.wait?.reason), let wait = plan.wait {
      ledger.record(card, .state, "wait", wait.reason, now: now)
    }
    return plan
  }

  private func answer(
    _ report: StateReport, _ node: EffectiveNode, _ boot: Boot?, _ card: MACAddress, _ origin: Origin,
    _ now: Moment
  ) async throws -> Plan {
    var subject = PlanMaker.Subject(
      state: report.state, node: node, boot: boot, address: report.address ?? origin.client, server: origin.server)
    subject.synchronised = livesync.generation(boot, report)
    func wait(_ reason: String, seconds: Int = Self.waitSeconds) -> Plan {
      Plan(
        state: report.state, boot: boot?.id, nodeName: node.name, environment: PlanMaker.environment(subject),
        steps: [],
        wait: Plan.Wait(seconds: seconds, reason: reason))
    }
    if report.state == "init" {
      if node.node.isHeld {
        let machine = [report.facts.vendor, report.facts.product, report.facts.serial.map { "serial number \($0)" }]
        let words = ([card.description] + machine.compactMap { $0.map(Facts.text) }).joined(separator: ", ")
        return wait(
          "this machine (\(words)) is held until it is assigned: perseid node add \(card) NAME",
          seconds: heldSeconds)
      }
      if let reason = mustRestart(node, boot) {
        var plan = wait(reason)
        plan.restart = reason
        return plan
      }
      guard node.enabled else { return wait("\(node.name) is disabled: perseid node set enabled true \(node.name)") }
      guard boot?.digest != nil else {
        return wait("capsule \(boot?.vnfs ?? node.vnfs) is not there: import it, or assign another to \(node.name)")
      }
      if let boot, boot.vnfs != node.vnfs, registry.read({ $0.capsules[node.vnfs] != nil }),
        correction.isDue(node.name, now: now)
      {
        admission.leave(node.name)
        var plan = wait("\(node.name) has booted capsule \(boot.vnfs), and \(node.vnfs) is assigned to it now")
        plan.restart = plan.wait?.reason
        return plan
      }
      if let count = admission.admit(node.name, now: now) {
        return wait("\(count) nodes are fetching their roots, as many as may at a time (provisioner.concurrentBoots)")
      }
    } else {
      admission.leave(node.name)
    }
    do {
      var plan = try await maker.plan(for: subject)
      // First: what the other steps do is done to the new files.
      if let step = livesync.step(for: node.name, boot, report) {
        plan.steps.insert(step, at: 0)
        if let number = step.livesync?.number { plan.environment["GENERATION"] = "\(number)" }
      }
      return plan
    } catch let error as ApplianceError {
      return wait(error.message)
    }
  }

  /// Why a machine that was held as it booted must boot again: it has another kernel than it is assigned now.
  private func mustRestart(_ node: EffectiveNode, _ boot: Boot?) -> String? {
    guard let boot, let arguments = boot.heldArguments else { return nil }
    let generation = registry.read { $0.capsules[node.vnfs]?.currentGeneration }
    if node.boot == .local { return "\(node.name) boots from its own disk: it restarts for that" }
    if node.vnfs != boot.vnfs || generation?.digest != boot.digest {
      return "\(node.name) is assigned capsule \(node.vnfs), and has booted \(boot.vnfs): it restarts for that"
    }
    if node.kernelArgs != arguments { return "\(node.name) has kernel arguments of its own: it restarts for them" }
    return nil
  }

  /// Which node reports, and in which boot: by its card; the boot's name says which attempt it is.
  private func identify(
    _ report: StateReport, _ macs: [MACAddress], _ origin: Origin, _ now: Moment
  ) async throws -> (EffectiveNode, Boot?) {
    let defaults = registry.defaults
    let (known, boot) = registry.read { view in
      let named = report.boot.flatMap { view.boots[$0] }
      let node = macs.firstAnswer { view.node(with: $0) } ?? named.flatMap { view.node(named: $0.node) }
      return (node.map { view.effective($0, defaults) }, named?.node == node?.name ? named : nil)
    }
    if let known, let boot, report.state != "init" || boot.digest != nil { return (known, boot) }
    if report.state == "init" {
      let bound = try await ledger.bind(
        BootLedger.Request(
          mac: macs[0], guid: report.facts.guid, address: origin.client, phase: .stage1, isAgain: report.boot != nil),
        now: now)
      return (bound.node, bound.boot)
    }
    guard let known else {
      throw ApplianceError(
        .notFound, "No node has the hardware address \(macs[0]). A machine becomes a node when it boots: boot it again."
      )
    }
    return (known, registry.read { $0.lastBoot(of: known.name) })
  }

  private func cards(_ reported: [MACAddress]) throws -> [MACAddress] {
    let cards = reported.filter(\.isUnicast)
    guard !cards.isEmpty, cards.count <= 64 else {
      throw ApplianceError(.invalid, "A report names 1 to 64 hardware addresses; this one names \(cards.count).")
    }
    return cards
  }

  /// Cards reported together are one node's. A card that another node has stays there.
  private func join(_ macs: [MACAddress], to name: String) async throws {
    try await registry.update { view in
      guard let node = view.node(named: name) else { return ([], ()) }
      let new = macs.filter { view.node(with: $0) == nil }.prefix(max(0, 32 - node.macs.count))
      guard !new.isEmpty else { return ([], ()) }
      var joined = node
      for mac in new where !joined.macs.contains(mac) { joined.macs.append(mac) }
      return (try Registry.changes(from: node, to: joined), ())
    }
  }

  private func words(_ report: StateReport, _ contact: StatusBoard.Contact) -> String {
    let facts = report.facts
    let words = [
      "kernel \(facts.kernelRelease)", "\(facts.processors) processors", ByteCount.words(facts.memoryBytes),
      "up \(ByteCount.seconds(facts.uptimeSeconds))",
    ]
    return (contact.wasSilent ? "speaks again: " : "") + words.joined(separator: ", ")
  }

  /// Takes down what happened on a node.
  /// - Throws: `ApplianceError`.
  package func record(_ report: EventReport, from origin: Origin, now: Moment = .now) throws {
    let macs = try cards(report.hardwareAddresses)
    guard report.events.count <= 1024 else {
      throw ApplianceError(.invalid, "A report has at most 1024 events; this one has \(report.events.count).")
    }
    let (node, boot) = registry.read { view in
      let boot = report.boot.flatMap { view.boots[$0] }
      return (macs.firstAnswer { view.node(with: $0) }, boot)
    }
    let card = boot.map { macs.contains($0.mac) ? $0.mac : macs[0] } ?? macs[0]
    if let boot, boot.node == node?.name {
      ledger.resumed(boot, phase: report.state == "init" ? .stage1 : .running, now: now)
    }
    let lastProgress = report.events.lastIndex(where: Self.isPlainProgress)
    for (index, event) in report.events.enumerated() {
      let name = Self.line(event.step, 64)
      let words = Self.words(event)
      if Self.isPlainProgress(event) {
        // For who watches, and no more than one of a report: that it came so far shows in what follows.
        guard index == lastProgress else { continue }
        ledger.show(
          card, .step, "\(name) progress", words, completed: event.completedBytes, total: event.totalBytes)
      } else {
        ledger.record(card, .step, "\(name) \(event.outcome.rawValue)", words, seconds: event.seconds, now: now)
      }
      if let node {
        board.step(node.name, name, event.outcome, words, now: now)
        livesync.heard(node.name, event, words)
      }
    }
  }

  private static func isPlainProgress(_ event: StepEvent) -> Bool {
    event.outcome == .progress && (event.detail ?? "").isEmpty
  }

  private static func words(_ event: StepEvent) -> String {
    var parts: [String] = []
    if let code = event.exitCode, code != 0 { parts.append("exit code \(code)") }
    if let done = event.completedBytes {
      parts.append(
        event.totalBytes.map { "\(ByteCount.words(done)) of \(ByteCount.words($0))" } ?? ByteCount.words(done))
    }
    if let detail = event.detail, !detail.isEmpty { parts.append(line(detail, StepEvent.outputLimit)) }
    return parts.joined(separator: ", ")
  }

  /// Text from a node: bounded, and without control characters but line ends.
  private static func line(_ text: String, _ limit: Int) -> String {
    let clean = text.unicodeScalars.prefix(limit).map { scalar -> Unicode.Scalar in
      scalar == "\n" || (scalar.value >= 32 && scalar.value != 127) ? scalar : " "
    }
    return String(String.UnicodeScalarView(clean))
  }
}
