package import Logging
import Synchronization

/// The one narrow channel through which every part says what happens: to who watches at once, to the
/// disk in batches, off the paths that answer nodes.
package final class Timeline: Sendable {
  private let store: any EventStore
  private let logger: Logger
  private let state = Mutex(State())

  private struct State {
    var pending: [TimelineEvent] = []
    var dropped = 0
    /// The boot that each node's last event belongs to: where it changes, old timelines go.
    var lastBoots: [String: String] = [:]
    var toTrim: Set<String> = []
    var watchers: [Int: Watcher] = [:]
    var nextWatcher = 0
  }

  private struct Watcher {
    var node: String?
    var continuation: AsyncStream<TimelineEvent>.Continuation
  }

  /// Events that wait for the disk; beyond that the newest are dropped and counted.
  package static let pendingLimit = 100_000
  /// Events that wait for one slow watcher; beyond that it loses the oldest.
  package static let watcherLimit = 4096

  package init(store: any EventStore, logger: Logger) {
    self.store = store
    self.logger = logger
  }

  /// Returns at once. Events without a node are shown to watchers only: they are written when their machine
  /// has become a node.
  package func record(_ event: TimelineEvent) {
    state.withLock { state in
      Self.keep(event, &state)
      Self.show(event, state)
    }
  }

  /// For watchers only: never written. Returns at once.
  func show(_ event: TimelineEvent) {
    state.withLock { Self.show(event, $0) }
  }

  var isWatched: Bool { state.withLock { !$0.watchers.isEmpty } }

  private static func show(_ event: TimelineEvent, _ state: State) {
    for watcher in state.watchers.values where watcher.node == nil || watcher.node == event.node {
      watcher.continuation.yield(event)
    }
  }

  /// Writes events that watchers have seen already.
  func keep(_ events: [TimelineEvent]) {
    state.withLock { state in
      for event in events { Self.keep(event, &state) }
    }
  }

  private static func keep(_ event: TimelineEvent, _ state: inout State) {
    guard let node = event.node else { return }
    if let boot = event.boot, state.lastBoots.updateValue(boot, forKey: node) != boot { state.toTrim.insert(node) }
    if state.pending.count < pendingLimit { state.pending.append(event) } else { state.dropped += 1 }
  }

  /// Events from now on, of one node or of all.
  package func watch(node: String? = nil) -> AsyncStream<TimelineEvent> {
    let (stream, continuation) = AsyncStream.makeStream(
      of: TimelineEvent.self, bufferingPolicy: .bufferingNewest(Self.watcherLimit))
    let number = state.withLock { state in
      state.nextWatcher += 1
      state.watchers[state.nextWatcher] = Watcher(node: node, continuation: continuation)
      return state.nextWatcher
    }
    continuation.onTermination = { [weak self] _ in
      _ = self?.state.withLock { $0.watchers.removeValue(forKey: number) }
    }
    return stream
  }

  /// Writes what waits. On return it is on the disk.
  package func flush() async throws {
    let (events, dropped, toTrim) = state.withLock { state in
      defer {
        state.pending = []
        state.dropped = 0
        state.toTrim = []
      }
      return (state.pending, state.dropped, state.toTrim)
    }
    if dropped > 0 {
      logger.warning("The disk does not keep up: \(dropped) timeline events were dropped.")
    }
    try await store.append(events)
    for node in toTrim {
      try await store.trimEvents(node: node, keepingBoots: Registry.bootLimit)
    }
  }

  /// Forgets a node that was deleted.
  package func forget(_ node: String) async throws {
    try await flush()
    _ = state.withLock { $0.lastBoots.removeValue(forKey: node) }
    try await store.trimEvents(node: node, keepingBoots: 0)
  }

  package func rename(_ node: String, to name: String) async throws {
    try await flush()
    try await store.renameEvents(node: node, to: name)
  }

  /// The events of a boot, the last one where `boot` is `nil`, in order.
  package func events(of node: String, boot: String? = nil) async throws -> [TimelineEvent] {
    try await flush()
    return try await store.events(node: node, boot: boot)
  }

  /// Ends every watch.
  package func finish() {
    let watchers = state.withLock { state in
      defer { state.watchers = [:] }
      return Array(state.watchers.values)
    }
    for watcher in watchers { watcher.continuation.finish() }
  }
}
