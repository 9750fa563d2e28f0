package import DHCP
package import NetworkTypes
import Synchronization

/// Which boot of a machine is under way: every packet, request and report finds its boot here.
///
/// A boot is one attempt of one machine. It opens at the first word of its firmware after the last one
/// ended, in memory; and on the disk when the machine asks for its script, which is when an unknown
/// machine becomes a node.
package final class BootLedger: Sendable {
  /// How far a boot has come, in order.
  package enum Phase: Int, Hashable, Sendable, Comparable {
    case firmware
    case script
    case loading
    case stage1
    case running

    package static func < (left: Phase, right: Phase) -> Bool { left.rawValue < right.rawValue }
  }

  package struct Attempt: Sendable {
    package var id: String
    package var opened: Timestamp
    package var lastSeen: Moment
    package var phase: Phase
    /// The machine's last boot that was bound since this appliance was started: this one, else one before it.
    fileprivate var binding: Binding?
    /// What the machine said of itself besides its card, when it asked for an address.
    fileprivate var clientIdentifier: [UInt8]?
    fileprivate var guids: [String] = []
    /// Events of a machine that is no node yet.
    fileprivate var early: [TimelineEvent] = []
    fileprivate var recorded = 0
  }

  fileprivate struct Binding {
    var boot: String
    var at: Moment
  }

  private struct State {
    var attempts: [MACAddress: Attempt] = [:]
    /// Who was last seen under an address: from DHCP, and from requests that name their card.
    var macs: [IPv4Address: MACAddress] = [:]
  }

  private let registry: Registry
  private let timeline: Timeline
  /// From when on boots are measured that an appliance before this one bound.
  private let started: Moment
  private let state = Mutex(State())
  /// What is tried with each machine's firmware.
  package let trials: FirmwareTrials

  /// A boot that has not come further and said nothing for so many seconds is over.
  package static let patience = 120.0
  private static let machineLimit = 65536
  private static let earlyLimit = 64
  /// Events written for one boot: a node that repeats itself for weeks does not fill the disk.
  private static let eventLimit = 2000

  package init(registry: Registry, timeline: Timeline, now: Moment = .now) {
    self.registry = registry
    started = now
    self.timeline = timeline
    trials = FirmwareTrials(registry: registry)
  }

  // MARK: What opens a boot

  /// A machine's firmware, or iPXE, says its first word: DISCOVER.
  package func discovered(_ mac: MACAddress, by speaker: ClientDescription.Speaker, now: Moment) {
    state.withLock { state in
      guard let attempt = state.attempts[mac] else { return open(mac, now, &state) }
      let isOver: Bool =
        switch speaker {
        // Firmware begins anew; only what it repeats before any answer helped it is still the same attempt.
        case .pxeFirmware, .httpFirmware: attempt.phase > .firmware || isStale(attempt, now)
        // iPXE comes after firmware, asks again where it was unlucky, and is a firmware itself on some cards.
        case .ipxe: attempt.phase > .loading || isStale(attempt, now)
        case .perseid, .other: false
        }
      if isOver { open(mac, now, &state) }
    }
  }

  /// How else than by its card a machine can be known, as it said in its boot.
  package func identified(_ machine: MachineIdentity) {
    state.withLock { state in
      if let identifier = machine.clientIdentifier { state.attempts[machine.mac]?.clientIdentifier = identifier }
      if !machine.guids.isEmpty { state.attempts[machine.mac]?.guids = machine.guids }
    }
  }

  /// Whether and which boot a machine is in that asks for its script now.
  private func attemptForScript(_ mac: MACAddress, now: Moment, isAgain: Bool) -> Attempt {
    let last = registry.read { view in view.node(with: mac).flatMap { view.lastBoot(of: $0.name) } }
    return state.withLock { state in
      if state.attempts[mac] == nil, let last, last.mac == mac,
        isAgain || abs(now.time.seconds(since: last.bound)) < Self.patience
      {
        // The appliance was started again in between: the boot on the disk is the one.
        state.attempts[mac] = Attempt(id: last.id, opened: last.opened, lastSeen: now, phase: .script)
      }
      if let attempt = state.attempts[mac], attempt.phase <= .loading, isAgain || !isStale(attempt, now) {
        state.attempts[mac]?.lastSeen = now
        return attempt
      }
      open(mac, now, &state)
      return state.attempts[mac] ?? Attempt(id: Self.newID(), opened: now.time, lastSeen: now, phase: .script)
    }
  }

  private func isStale(_ attempt: Attempt, _ now: Moment) -> Bool {
    now.seconds(since: attempt.lastSeen) > Self.patience
  }

  private func open(_ mac: MACAddress, _ now: Moment, _ state: inout State) {
    let binding = state.attempts[mac]?.binding
    if state.attempts.count >= Self.machineLimit {
      let cut = state.attempts.values.map(\.lastSeen.uptime).sorted()[Self.machineLimit / 2]
      state.attempts = state.attempts.filter { $0.value.lastSeen.uptime > cut }
    }
    state.attempts[mac] = Attempt(
      id: Self.newID(), opened: now.time, lastSeen: now, phase: .firmware, binding: binding)
  }

  private func reopen(_ mac: MACAddress, now: Moment) -> Attempt {
    state.withLock { state in
      open(mac, now, &state)
      return state.attempts[mac] ?? Attempt(id: Self.newID(), opened: now.time, lastSeen: now, phase: .script)
    }
  }

  /// Twelve letters and digits of which none is mistaken for another.
  private static func newID() -> String {
    let alphabet = Array("abcdefghjkmnpqrstuvwxyz23456789")
    return String((0..<12).map { _ in alphabet[Int.random(in: 0..<alphabet.count)] })
  }

  // MARK: Binding

  /// A node and the boot it is in.
  package struct Bound: Hashable, Sendable {
    package var boot: Boot
    package var node: EffectiveNode
    package var isNewNode: Bool
  }

  /// Who asks to be bound.
  package struct Request: Hashable, Sendable {
    package var mac: MACAddress
    package var guid: String?
    package var address: IPv4Address?
    package var phase: Phase
    /// It says that it has asked before.
    package var isAgain: Bool

    package init(mac: MACAddress, guid: String? = nil, address: IPv4Address? = nil, phase: Phase, isAgain: Bool = false)
    {
      self.mac = mac
      self.guid = guid
      self.address = address
      self.phase = phase
      self.isAgain = isAgain
    }
  }

  /// Finds or opens the boot of a machine that asks for its script (or reports `init` without one), makes
  /// the machine a node where it is none, and binds node, address and generation. All of it is on the
  /// disk on return.
  package func bind(_ request: Request, now: Moment = .now) async throws -> Bound {
    var attempt = attemptForScript(request.mac, now: now, isAgain: request.isAgain)
    defer { registry.release(request.mac) }
    for _ in 0..<3 {
      if let bound = try await bind(request, attempt, now) {
        came(request.mac, to: request.phase, now: now)
        state.withLock { state in
          if state.attempts[request.mac]?.binding?.boot != bound.boot.id {
            state.attempts[request.mac]?.binding = Binding(boot: bound.boot.id, at: now)
          }
        }
        remember(request.mac, at: request.address)
        settle(bound, request.mac)
        if request.phase == .script { spoke(request.mac) }
        return bound
      }
      // What it has begun to load is not what it is assigned now: that is another boot.
      attempt = reopen(request.mac, now: now)
    }
    throw ApplianceError(.conflict, "The boot of \(request.mac) changed again and again at the same moment.")
  }

  private func bind(_ request: Request, _ attempt: Attempt, _ now: Moment) async throws -> Bound? {
    try await registry.update { [registry] view in
      var changes: [Change] = []
      var node: Node
      let machine = MachineIdentity(
        mac: request.mac, clientIdentifier: attempt.clientIdentifier,
        guids: attempt.guids + (request.guid.flatMap(MachineIdentity.guid).map { [$0] } ?? []))
      let known = view.node(of: machine)
      if let known {
        node = known
        if !node.macs.contains(request.mac) {
          // Known by an identifier of its own, it boots from another card: that one is its first from now on.
          node.macs = [request.mac] + node.macs.prefix(31)
          changes = try Registry.changes(from: known, to: node)
        }
      } else {
        (node, changes) = try registry.discover(request.mac, guid: request.guid, now: now.time, in: &view)
      }
      let effective = view.effective(node, registry.defaults)
      let generation = view.capsules[effective.vnfs]?.currentGeneration
      var boot = Boot(
        id: attempt.id, node: node.name, mac: request.mac, opened: attempt.opened, bound: now.time,
        address: request.address, vnfs: effective.vnfs, generation: generation?.number, digest: generation?.digest)
      boot.number = (view.lastBoot(of: node.name)?.number ?? 0) + 1
      if node.isHeld { boot.heldArguments = effective.kernelArgs }
      if let existing = view.boots[attempt.id] {
        if existing.digest != nil, existing.digest != boot.digest || existing.vnfs != boot.vnfs,
          attempt.phase >= .loading
        {
          return ([], nil)
        }
        boot.number = existing.number
        boot.opened = existing.opened
        boot.bound = existing.bound
        boot.address = request.address ?? existing.address
        if boot == existing, changes.isEmpty { return ([], Bound(boot: boot, node: effective, isNewNode: false)) }
      }
      changes.append(try .put(RecordKey.boot + boot.id, boot))
      for old in view.boots(of: node.name).filter({ $0.id != boot.id }).dropLast(Registry.bootLimit - 1) {
        changes.append(.delete(RecordKey.boot + old.id))
      }
      return (changes, Bound(boot: boot, node: effective, isNewNode: known == nil))
    }
  }

  /// What was heard of the machine before now belongs to its boot.
  private func settle(_ bound: Bound, _ mac: MACAddress) {
    let early = state.withLock { state in
      defer { state.attempts[mac]?.early = [] }
      return state.attempts[mac]?.early ?? []
    }
    timeline.keep(
      early.map { event in
        var event = event
        event.node = bound.node.name
        event.boot = bound.boot.id
        return event
      })
    if bound.isNewNode {
      record(
        mac, .http, "node",
        bound.node.node.isHeld
          ? "a new machine: it is held, and goes on when it is assigned: perseid node add \(mac) NAME"
          : "a new machine: it is node \(bound.node.name) now, group \(bound.node.groups.joined(separator: ", ")), capsule \(bound.boot.vnfs)"
      )
    }
  }

  // MARK: What happens in a boot

  /// What a machine's firmware loaded speaks: what it was answered with works.
  package func spoke(_ mac: MACAddress) {
    guard let strategy = trials.spoke(mac) else { return }
    record(mac, .dhcp, "strategy", "this firmware boots with \(strategy.words): remembered for the next time")
  }

  /// It has come so far at least.
  package func came(_ mac: MACAddress, to phase: Phase, now: Moment = .now) {
    state.withLock { state in
      guard let attempt = state.attempts[mac] else { return }
      state.attempts[mac]?.phase = max(attempt.phase, phase)
      state.attempts[mac]?.lastSeen = now
    }
  }

  /// A report belongs to this boot, whatever was under way as far as we knew: we may have been started since.
  package func resumed(_ boot: Boot, phase: Phase, now: Moment) {
    state.withLock { state in
      if state.attempts[boot.mac]?.id != boot.id {
        state.attempts[boot.mac] = Attempt(
          id: boot.id, opened: boot.opened, lastSeen: now, phase: phase, binding: state.attempts[boot.mac]?.binding)
      }
    }
    came(boot.mac, to: phase, now: now)
  }

  /// When a boot was bound to its node; `nil` where an appliance before this one did that.
  package func bound(_ boot: Boot) -> Moment? {
    state.withLock { state in
      guard let binding = state.attempts[boot.mac]?.binding, binding.boot == boot.id else { return nil }
      return binding.at
    }
  }

  /// Seconds since a boot was bound, or since this appliance was started: by the machine's own clock.
  package func secondsSinceBound(_ boot: Boot, now: Moment) -> Double {
    max(0, now.seconds(since: bound(boot) ?? started))
  }

  package func phase(of mac: MACAddress) -> Phase? { state.withLock { $0.attempts[mac]?.phase } }

  package func attemptID(of mac: MACAddress) -> String? { state.withLock { $0.attempts[mac]?.id } }

  package func remember(_ mac: MACAddress, at address: IPv4Address?) {
    guard let address, address != .any else { return }
    state.withLock { state in
      if state.macs.count >= Self.machineLimit { state.macs.removeAll() }
      state.macs[address] = mac
    }
  }

  /// Whose address this is: as last seen, else by its lease, else by its boot.
  package func mac(at address: IPv4Address) -> MACAddress? {
    if let mac = state.withLock({ $0.macs[address] }) { return mac }
    return registry.read { view in
      view.holder(of: address) ?? view.node(reserving: address)?.macs.first ?? view.boot(at: address)?.mac
    }
  }

  /// Whose boot this is.
  package func mac(of boot: String) -> MACAddress? { registry.read { $0.boots[boot]?.mac } }

  package func forget(_ macs: [MACAddress]) {
    trials.forget(macs)
    state.withLock { state in
      for mac in macs { state.attempts[mac] = nil }
    }
  }

  /// Tells those who watch right now what a machine is busy with, and nobody later: that it came so far shows in what
  /// follows. Returns at once.
  package func show(
    _ mac: MACAddress, _ source: TimelineEvent.Source, _ event: String, _ detail: String, completed: Int64? = nil,
    total: Int64? = nil
  ) {
    guard timeline.isWatched else { return }
    let node = registry.read { $0.node(with: mac)?.name }
    let boot = state.withLock { $0.attempts[mac]?.id }
    timeline.show(
      TimelineEvent(
        at: .now, source: source, event: event, detail: detail, node: node, mac: mac, boot: boot, completed: completed,
        total: total))
  }

  /// Says what happened to a machine. Returns at once.
  package func record(
    _ mac: MACAddress, _ source: TimelineEvent.Source, _ event: String, _ detail: String, seconds: Double? = nil,
    now: Moment = .now
  ) {
    let (node, last) = registry.read { view in
      let node = view.node(with: mac)
      return (node?.name, node.flatMap { view.lastBoot(of: $0.name)?.id })
    }
    let made: TimelineEvent? = state.withLock { state in
      var made = TimelineEvent(
        at: now.time, source: source, event: event, detail: detail, node: node, mac: mac, boot: last, seconds: seconds)
      guard var attempt = state.attempts[mac] else { return made }
      attempt.recorded += 1
      attempt.lastSeen = now
      made.boot = attempt.id
      if node == nil, attempt.early.count < Self.earlyLimit { attempt.early.append(made) }
      state.attempts[mac] = attempt
      return attempt.recorded > Self.eventLimit ? nil : made
    }
    if let made { timeline.record(made) }
  }
}
