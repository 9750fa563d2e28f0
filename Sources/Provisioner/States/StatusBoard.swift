package import CapsuleFormat
package import NetworkTypes
package import StateProtocol
import Synchronization

/// What each node last said of itself: in memory at once, on the disk soon, so that it survives a restart
/// without a write for every report.
///
/// What has lasted too long is measured by the machine's own clock, from when this appliance heard of it: the wall
/// clock may jump, and after a restart every node has its time again. What was found stuck stays so until it goes on.
package final class StatusBoard: Sendable {
  private struct State {
    var statuses: [String: NodeStatus] = [:]
    var clocks: [String: Clocks] = [:]
    var facts: [String: Facts] = [:]
    /// Changed in a way that is written with the next flush.
    var urgent: Set<String> = []
    var newFacts: Set<String> = []
    /// Only heard of again: written now and then.
    var fresh: [String: Timestamp] = [:]
    var silent: Set<String> = []
  }

  /// Uptimes of this appliance's machine. What was read from the disk has that of this appliance's start.
  private struct Clocks {
    var state: Clock
    var contact: Clock
    var step: Clock?
  }

  private struct Clock {
    var uptime: Double
    /// What it is the time of was in an appliance before this one.
    var isInherited = false
  }

  private let registry: Registry
  private let state: Mutex<State>
  /// Seconds between writes of a last contact alone.
  package static let contactInterval = 30.0

  package init(registry: Registry, now: Moment = .now) {
    self.registry = registry
    let (statuses, facts) = registry.read { ($0.statuses, $0.facts) }
    let start = Clock(uptime: now.uptime, isInherited: true)
    let clocks = statuses.mapValues { status in
      Clocks(state: start, contact: start, step: status.stepSince == nil ? nil : start)
    }
    state = Mutex(State(statuses: statuses, clocks: clocks, facts: facts))
  }

  package struct Contact: Hashable, Sendable {
    /// The state or the boot is another than at the last contact.
    package var isNewState: Bool
    package var wasSilent: Bool
    package var wasWaiting: Bool
  }

  /// A node reports a state.
  package func contact(
    _ node: String, state name: String, boot: String?, address: IPv4Address?, facts: Facts, now: Moment
  ) -> Contact {
    state.withLock { state in
      var status = state.statuses[node] ?? NodeStatus(state: name, lastContact: now.time, since: now.time)
      let clock = Clock(uptime: now.uptime)
      var clocks = state.clocks[node] ?? Clocks(state: clock, contact: clock)
      let wasWaiting = status.wait != nil
      let isNew = state.statuses[node] == nil || status.state != name || status.boot != boot
      if isNew {
        status.since = now.time
        status.step = nil
        status.detail = nil
        status.stuck = nil
        status.wait = nil
        clocks.state = clock
      }
      // Whoever reports a state is in none of its steps.
      status.stepSince = nil
      clocks.step = nil
      status.state = name
      status.boot = boot
      status.address = address ?? status.address
      status.generation = facts.generation ?? (isNew ? nil : status.generation)
      status.lastContact = now.time
      clocks.contact = clock
      state.statuses[node] = status
      state.clocks[node] = clocks
      if isNew { state.urgent.insert(node) } else if state.fresh[node] == nil { state.fresh[node] = now.time }
      if !facts.isSame(as: state.facts[node]) { state.newFacts.insert(node) }
      state.facts[node] = facts
      return Contact(isNewState: isNew, wasSilent: state.silent.remove(node) != nil, wasWaiting: wasWaiting)
    }
  }

  /// A running node's root is that of another generation now.
  package func synchronised(_ node: String, with generation: Digest) {
    state.withLock { state in
      guard state.statuses[node] != nil else { return }
      state.statuses[node]?.generation = generation.description
      state.urgent.insert(node)
    }
  }

  /// A node is told to wait, or, with `nil`, what to do.
  /// - Returns: Whether that is news.
  package func waits(_ node: String, _ reason: String?) -> Bool {
    state.withLock { state in
      guard let status = state.statuses[node], status.wait != reason else { return false }
      state.statuses[node]?.wait = reason
      state.urgent.insert(node)
      return true
    }
  }

  /// A node says how a step stands.
  package func step(_ node: String, _ step: String, _ outcome: StepEvent.Outcome, _ detail: String, now: Moment) {
    state.withLock { state in
      guard var status = state.statuses[node], var clocks = state.clocks[node] else { return }
      let clock = Clock(uptime: now.uptime)
      let isUnderWay = outcome == .started || outcome == .progress
      if !isUnderWay || status.step != step || outcome == .started {
        status.stepSince = isUnderWay ? now.time : nil
        clocks.step = isUnderWay ? clock : nil
      }
      status.step = step
      status.detail = detail.isEmpty ? outcome.rawValue : "\(outcome.rawValue): \(detail)"
      status.lastContact = now.time
      clocks.contact = clock
      state.statuses[node] = status
      state.clocks[node] = clocks
      if state.fresh[node] == nil { state.fresh[node] = now.time }
    }
  }

  package func status(of node: String) -> NodeStatus? { state.withLock { $0.statuses[node] } }

  package func facts(of node: String) -> Facts? { state.withLock { $0.facts[node] } }

  package func statuses() -> [String: NodeStatus] { state.withLock { $0.statuses } }

  package func forget(_ node: String) {
    state.withLock { state in
      state.statuses[node] = nil
      state.clocks[node] = nil
      state.facts[node] = nil
      state.urgent.remove(node)
      state.newFacts.remove(node)
      state.fresh[node] = nil
      state.silent.remove(node)
    }
  }

  package func rename(_ node: String, to name: String) {
    state.withLock { state in
      state.statuses[name] = state.statuses.removeValue(forKey: node)
      state.clocks[name] = state.clocks.removeValue(forKey: node)
      state.facts[name] = state.facts.removeValue(forKey: node)
      state.fresh[node] = nil
      state.urgent.remove(node)
      state.urgent.insert(name)
      if state.newFacts.remove(node) != nil || state.facts[name] != nil { state.newFacts.insert(name) }
      if state.silent.remove(node) != nil { state.silent.insert(name) }
    }
  }

  /// A node that is past its deadline, or has gone on since.
  package struct Stuck: Hashable, Sendable {
    package var node: String
    package var status: NodeStatus
    /// Seconds that the state, or the step under way, has taken; `nil` where it has gone on.
    package var seconds: Double?
    /// Whether it is the step that takes too long, in a state that it may stay in.
    package var isStep: Bool
  }

  /// Nodes that have become stuck since this was asked last, and those that no longer are.
  ///
  /// A state that another one follows must be left in time. A state that a node stays in has no end: there each step
  /// must end in time. Who was told to wait is not stuck.
  package func newlyStuck(now: Moment, by settings: Configuration.States) -> [Stuck] {
    state.withLock { state in
      var found: [Stuck] = []
      for (node, status) in state.statuses {
        guard let clocks = state.clocks[node] else { continue }
        let isStep = settings.next(after: status.state) == nil
        let begin = isStep ? clocks.step : clocks.state
        let seconds = begin.map { now.uptime - $0.uptime }
        let deadline = settings.deadline(of: status.state).map { Double($0) } ?? .infinity
        // What was found before a restart stays: its clocks began again.
        let isLate = status.wait == nil && ((seconds ?? 0) > deadline || (status.stuck != nil && begin != nil))
        guard isLate != (status.stuck != nil) else { continue }
        state.statuses[node]?.stuck = isLate ? now.time : nil
        state.urgent.insert(node)
        found.append(Stuck(node: node, status: status, seconds: isLate ? seconds : nil, isStep: isStep))
      }
      return found.sorted { $0.node < $1.node }
    }
  }

  /// Nodes in `ready` or a later state that have been silent for longer than this, each named once until it
  /// speaks again.
  package func newlySilent(
    now: Moment, after limit: (_ state: String) -> Int
  ) -> [(node: String, status: NodeStatus, seconds: Double)] {
    state.withLock { state in
      var found: [(String, NodeStatus, Double)] = []
      for (node, status) in state.statuses where status.state != "init" && !state.silent.contains(node) {
        guard let clocks = state.clocks[node] else { continue }
        let seconds = now.uptime - clocks.contact.uptime
        guard seconds > Double(limit(status.state)) else { continue }
        state.silent.insert(node)
        found.append((node, status, seconds))
      }
      return found
    }
  }

  package func isSilent(_ node: String) -> Bool { state.withLock { $0.silent.contains(node) } }

  /// Seconds since a node was heard of, or since this appliance was started.
  package func secondsSinceContact(_ node: String, now: Moment = .now) -> Double? {
    state.withLock { $0.clocks[node].map { max(0, now.uptime - $0.contact.uptime) } }
  }

  /// The uptime at which a node was last heard of; `nil` where it was not since this appliance was started.
  package func lastHeard(_ node: String) -> Double? {
    state.withLock { state in
      state.clocks[node].flatMap { $0.contact.isInherited ? nil : $0.contact.uptime }
    }
  }

  /// Seconds that a node has been in its state, or in the step under way: by the machine's own clock where this
  /// appliance saw that begin, else by the wall's.
  package func secondsInPlace(_ node: String, now: Moment) -> Double? {
    state.withLock { state in
      guard let status = state.statuses[node], let clocks = state.clocks[node] else { return nil }
      let begin = clocks.step ?? clocks.state
      return max(
        0,
        begin.isInherited ? now.time.seconds(since: status.stepSince ?? status.since) : now.uptime - begin.uptime)
    }
  }

  /// Writes what changed; last contacts alone only where they have waited long enough, or for `all`.
  package func flush(now: Timestamp = .now, all: Bool = false) async throws {
    let (due, facts) = state.withLock { state in
      var names = state.urgent
      state.urgent = []
      for (node, since) in state.fresh where all || abs(now.seconds(since: since)) >= Self.contactInterval {
        names.insert(node)
      }
      for node in names { state.fresh[node] = nil }
      let facts = state.newFacts.compactMap { node in state.facts[node].map { (node, $0) } }
      state.newFacts = []
      return (names.compactMap { node in state.statuses[node].map { (node, $0) } }, facts)
    }
    guard !due.isEmpty || !facts.isEmpty else { return }
    do {
      let changes =
        try due.map { try Change.put(RecordKey.status + $0, $1) }
        + facts.map { try Change.put(RecordKey.facts + $0, $1) }
      try await registry.store.commit(changes, expecting: nil)
    } catch {
      state.withLock { state in
        for (node, _) in due where state.statuses[node] != nil { state.urgent.insert(node) }
        for (node, _) in facts where state.facts[node] != nil { state.newFacts.insert(node) }
      }
      throw error
    }
  }
}

extension Facts {
  /// Whether nothing but the uptime differs.
  fileprivate func isSame(as other: Facts?) -> Bool {
    guard var other else { return false }
    other.uptimeSeconds = uptimeSeconds
    return self == other
  }
}
