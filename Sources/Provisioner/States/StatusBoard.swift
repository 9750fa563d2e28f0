package import NetworkTypes
import Synchronization

/// What each node last said of itself: in memory at once, on the disk soon, so that it survives a restart
/// without a write for every report.
package final class StatusBoard: Sendable {
  private struct State {
    var statuses: [String: NodeStatus] = [:]
    /// Changed in a way that is written with the next flush.
    var urgent: Set<String> = []
    /// Only heard of again: written now and then.
    var fresh: [String: Timestamp] = [:]
    var silent: Set<String> = []
  }

  private let registry: Registry
  private let state: Mutex<State>
  /// Seconds between writes of a last contact alone.
  package static let contactInterval = 30.0

  package init(registry: Registry) {
    self.registry = registry
    state = Mutex(State(statuses: registry.read { $0.statuses }))
  }

  package struct Contact: Hashable, Sendable {
    /// The state or the boot is another than at the last contact.
    package var isNewState: Bool
    package var wasSilent: Bool
  }

  /// A node reports a state.
  package func contact(
    _ node: String, state name: String, boot: String?, address: IPv4Address?, generation: String?, now: Timestamp
  ) -> Contact {
    state.withLock { state in
      var status = state.statuses[node] ?? NodeStatus(state: name, lastContact: now, since: now)
      let isNew = state.statuses[node] == nil || status.state != name || status.boot != boot
      if isNew {
        status.since = now
        status.step = nil
        status.detail = nil
      }
      status.state = name
      status.boot = boot
      status.address = address ?? status.address
      status.generation = generation ?? (isNew ? nil : status.generation)
      status.lastContact = now
      state.statuses[node] = status
      if isNew { state.urgent.insert(node) } else if state.fresh[node] == nil { state.fresh[node] = now }
      return Contact(isNewState: isNew, wasSilent: state.silent.remove(node) != nil)
    }
  }

  /// A node says how a step stands.
  package func step(_ node: String, _ step: String, _ detail: String, now: Timestamp) {
    state.withLock { state in
      guard var status = state.statuses[node] else { return }
      status.step = step
      status.detail = detail
      status.lastContact = now
      state.statuses[node] = status
      if state.fresh[node] == nil { state.fresh[node] = now }
    }
  }

  package func status(of node: String) -> NodeStatus? { state.withLock { $0.statuses[node] } }

  package func statuses() -> [String: NodeStatus] { state.withLock { $0.statuses } }

  package func forget(_ node: String) {
    state.withLock { state in
      state.statuses[node] = nil
      state.urgent.remove(node)
      state.fresh[node] = nil
      state.silent.remove(node)
    }
  }

  package func rename(_ node: String, to name: String) {
    state.withLock { state in
      state.statuses[name] = state.statuses.removeValue(forKey: node)
      state.fresh[node] = nil
      state.urgent.remove(node)
      state.urgent.insert(name)
    }
  }

  /// Nodes in `ready` or a later state that have been silent for longer than this, each named once until it
  /// speaks again.
  package func newlySilent(now: Timestamp, after seconds: Int) -> [(node: String, status: NodeStatus)] {
    state.withLock { state in
      var found: [(String, NodeStatus)] = []
      for (node, status) in state.statuses
      where status.state != "init" && now.seconds(since: status.lastContact) > Double(seconds)
        && !state.silent.contains(node)
      {
        state.silent.insert(node)
        found.append((node, status))
      }
      return found
    }
  }

  package func isSilent(_ node: String) -> Bool { state.withLock { $0.silent.contains(node) } }

  /// Writes what changed; last contacts alone only where they have waited long enough, or for `all`.
  package func flush(now: Timestamp = .now, all: Bool = false) async throws {
    let due = state.withLock { state in
      var names = state.urgent
      state.urgent = []
      for (node, since) in state.fresh where all || now.seconds(since: since) >= Self.contactInterval {
        names.insert(node)
      }
      for node in names { state.fresh[node] = nil }
      return names.compactMap { node in state.statuses[node].map { (node, $0) } }
    }
    guard !due.isEmpty else { return }
    do {
      try await registry.store.commit(due.map { try .put(RecordKey.status + $0, $1) }, expecting: nil)
    } catch {
      state.withLock { state in
        for (node, _) in due where state.statuses[node] != nil { state.urgent.insert(node) }
      }
      throw error
    }
  }
}
