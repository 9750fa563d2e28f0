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
    var ring = EventRing()
    var readers: [Int: Reader] = [:]
    var nextReader = 0
    var isFinished = false
  }

  private struct Reader {
    /// Only what this node does.
    var node: String?
    /// The number of the next event to look at.
    var position: UInt64
    /// Counted before it began.
    var lost: UInt64 = 0
    var isPoked = false
    var isEnded = false
    var waiting: CheckedContinuation<Void, Never>?
  }

  /// A word for this run of the appliance: numbers of events mean nothing in another one.
  package let run = MachineIdentity.hexadecimal((0..<6).map { _ in UInt8.random(in: .min ... .max) }, separator: "")

  /// Events that wait for the disk; beyond that the newest are dropped and counted.
  package static let pendingLimit = 100_000
  /// Events that a reader is given at once.
  static let batchLimit = 256

  package init(store: any EventStore, logger: Logger) {
    self.store = store
    self.logger = logger
  }

  /// Returns at once. Events without a node are shown to watchers only: they are written when their machine
  /// has become a node.
  package func record(_ event: TimelineEvent) {
    state.withLock { state in
      Self.keep(event, &state)
      Self.show(event, &state)
    }
  }

  /// For watchers only: never written. Returns at once.
  func show(_ event: TimelineEvent) {
    state.withLock { Self.show(event, &$0) }
  }

  var isWatched: Bool { state.withLock { !$0.readers.isEmpty } }

  private static func show(_ event: TimelineEvent, _ state: inout State) {
    state.ring.add(event)
    for (number, reader) in state.readers where reader.waiting != nil {
      if reader.node == nil || reader.node == event.node {
        state.readers[number]?.waiting.take()?.resume()
      }
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
    let reader = follow(node: node)
    let rest = Mutex<[TimelineEvent]>([])
    return AsyncStream {
      while true {
        if let event = rest.withLock({ $0.popLast() }) { return event }
        guard let batch = await reader.next() else { return nil }
        rest.withLock { $0 = batch.events.reversed().map(\.event) }
      }
    }
  }

  /// Events from now on, or from one on that was seen before.
  /// - Parameter last: The last event that was seen, as `identifier` wrote it.
  package func follow(node: String? = nil, after last: String? = nil) -> TimelineReader {
    let number = state.withLock { state in
      var reader = Reader(node: node, position: state.ring.next)
      if let last, let seen = self.number(in: last), seen < state.ring.next {
        reader.position = max(seen + 1, state.ring.oldest)
        reader.lost = reader.position - (seen + 1)
      }
      state.nextReader += 1
      state.readers[state.nextReader] = reader
      return state.nextReader
    }
    return TimelineReader(self, number: number)
  }

  /// What an event is called by who wants to go on behind it later.
  package func identifier(_ number: UInt64) -> String { "\(run)-\(number)" }

  /// The number of the last event there was.
  package var lastNumber: UInt64 { state.withLock { $0.ring.next - 1 } }

  /// Whether an identifier is of this run.
  package func isKnown(_ identifier: String) -> Bool { number(in: identifier) != nil }

  private func number(in identifier: String) -> UInt64? {
    let parts = identifier.split(separator: "-", omittingEmptySubsequences: false)
    return parts.count == 2 && parts[0] == run ? UInt64(parts[1]).flatMap { $0 < .max ? $0 : nil } : nil
  }

  // MARK: Readers

  /// What a reader has not seen; `nil` where it must wait.
  func take(_ number: Int) -> (batch: TimelineReader.Batch?, Void)? {
    state.withLock { state in
      guard var reader = state.readers[number], !reader.isEnded else { return (nil, ()) }
      var batch = TimelineReader.Batch(lost: reader.lost)
      reader.lost = 0
      if reader.position < state.ring.oldest {
        batch.lost += state.ring.oldest - reader.position
        reader.position = state.ring.oldest
      }
      while reader.position < state.ring.next, batch.events.count < Self.batchLimit {
        let event = state.ring[reader.position]
        if reader.node == nil || reader.node == event.node {
          batch.events.append(TimelineReader.Numbered(number: reader.position, event: event))
        }
        reader.position += 1
      }
      let isWoken = reader.isPoked
      reader.isPoked = false
      state.readers[number] = reader
      if !batch.events.isEmpty || batch.lost > 0 || isWoken { return (batch, ()) }
      return state.isFinished ? (nil, ()) : nil
    }
  }

  func wait(_ number: Int, _ continuation: CheckedContinuation<Void, Never>, isCancelled: () -> Bool) {
    let waits = state.withLock { state in
      guard let reader = state.readers[number], reader.position == state.ring.next, !reader.isPoked, !reader.isEnded,
        !state.isFinished, !isCancelled()
      else { return false }
      state.readers[number]?.waiting = continuation
      return true
    }
    if !waits { continuation.resume() }
  }

  func wake(_ number: Int) {
    state.withLock { $0.readers[number]?.waiting.take() }?.resume()
  }

  func poke(_ number: Int) {
    state.withLock { state in
      state.readers[number]?.isPoked = true
      return state.readers[number]?.waiting.take()
    }?.resume()
  }

  func end(_ number: Int) {
    state.withLock { state in
      state.readers[number]?.isEnded = true
      return state.readers[number]?.waiting.take()
    }?.resume()
  }

  func leave(_ number: Int) {
    state.withLock { $0.readers.removeValue(forKey: number) }?.waiting?.resume()
  }

  /// Writes what waits. On return all that was recorded before is on the disk, whoever began to write it.
  package func flush() async throws {
    var toTrim: Set<String> = []
    try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
      // Taken and handed over in one step: who comes next is behind these events, even where it has none of its own.
      let dropped = state.withLock { state in
        store.append(state.pending) { continuation.resume(with: $0) }
        toTrim = state.toTrim
        defer { state.dropped = 0 }
        state.pending = []
        state.toTrim = []
        return state.dropped
      }
      if dropped > 0 {
        logger.warning("The disk does not keep up: \(dropped) timeline events were dropped.")
      }
    }
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

  /// Ends every watch, once it has what happened before.
  package func finish() {
    let waiting = state.withLock { state in
      state.isFinished = true
      return state.readers.keys.compactMap { state.readers[$0]?.waiting.take() }
    }
    for reader in waiting { reader.resume() }
  }
}
