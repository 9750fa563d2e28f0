import FoundationEssentials
import ServiceLifecycle
import Synchronization

/// Server-sent events (HTML standard, section 9.2): one JSON timeline event in each, with an identifier to go on from;
/// a comment now and then, so that both ends notice when the other is gone.
///
/// Nothing is kept for a reader: one that is too slow, or comes back too late, is told how many events it lost by an
/// event `lost`.
struct EventStream: Sendable {
  /// Seconds.
  struct Limits: Hashable, Sendable {
    /// Between comments.
    var keepAliveSeconds = 15.0
    /// Until the reader has taken what was sent; then it is left.
    var stallSeconds = 60.0
  }

  /// How long a reader waits before it comes back, in milliseconds.
  private static let retryMilliseconds = 2000

  private let timeline: Timeline
  private let node: String?
  private let lastEventID: String?
  private let limits: Limits

  init(_ timeline: Timeline, node: String?, lastEventID: String?, limits: Limits = Limits()) {
    self.timeline = timeline
    self.node = node
    self.lastEventID = lastEventID
    self.limits = limits
  }

  /// - Throws: `ApplianceError` where no appliance runs.
  static func writing(_ call: AdminCall) throws -> AdminReply.Writing {
    try call.needsRunningAppliance("watch")
    let stream = EventStream(call.appliance.timeline, node: call.text("node"), lastEventID: call.lastEventID)
    return { write in try await stream.run(hangUp: call.hangUp, write) }
  }

  /// Since when the reader has not taken what was sent.
  private final class Writing: Sendable {
    private let since = Mutex<ContinuousClock.Instant?>(nil)

    func begin() { since.withLock { $0 = .now } }

    func end() { since.withLock { $0 = nil } }

    func lasts(longerThan seconds: Double) -> Bool {
      since.withLock { $0.map { ContinuousClock.now - $0 > .seconds(seconds) } ?? false }
    }
  }

  /// Writes events until the task is cancelled, the appliance stops, or the reader takes nothing any more.
  /// - Parameter hangUp: Ends the connection, so that a `write` that waits ends with an error.
  func run(hangUp: @escaping @Sendable () -> Void, _ write: ([UInt8]) async throws -> Void) async throws {
    let reader = timeline.follow(node: node, after: lastEventID)
    let opening = opening
    let limits = limits
    let writing = Writing()
    try await withThrowingTaskGroup(of: Void.self) { tasks in
      tasks.addTask {
        try? await gracefulShutdown()
        reader.end()
      }
      tasks.addTask {
        while true {
          try await Task.sleep(for: .seconds(limits.keepAliveSeconds))
          if writing.lasts(longerThan: limits.stallSeconds) { hangUp() }
          reader.poke()
        }
      }
      defer { tasks.cancelAll() }
      var text = opening
      while true {
        writing.begin()
        try await write(text)
        writing.end()
        guard let batch = await reader.next() else { return }
        text = try self.text(of: batch)
      }
    }
  }

  private var opening: [UInt8] {
    var text = "retry: \(Self.retryMilliseconds)\n"
    if let lastEventID, !timeline.isKnown(lastEventID) {
      // Of another run of the appliance: nobody knows how many happened since.
      text += "event: lost\ndata: {\"lost\":null}\n"
    }
    if lastEventID == nil { text += "id: \(timeline.identifier(timeline.lastNumber))\n" }
    return Array((text + ": watching\n\n").utf8)
  }

  private func text(of batch: TimelineReader.Batch) throws -> [UInt8] {
    var text: [UInt8] = []
    if batch.lost > 0 { text += "event: lost\ndata: {\"lost\":\(batch.lost)}\n\n".utf8 }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    for numbered in batch.events {
      text += "id: \(timeline.identifier(numbered.number))\ndata: ".utf8
      text += try encoder.encode(numbered.event)
      text += "\n\n".utf8
    }
    return text.isEmpty ? Array(": still there\n\n".utf8) : text
  }
}
