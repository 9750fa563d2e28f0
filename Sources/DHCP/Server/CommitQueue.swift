import Synchronization

/// Replies that wait for their leases to be on the disk.
///
/// While one commit runs, what comes in waits for the next, so that a burst costs a few commits and
/// no client waits for another's. What is refused here is only the reply: the client asks again.
final class CommitQueue: Sendable {
  private let capacity: Int
  private let waiting = Mutex<[Response]>([])
  private let signals: AsyncStream<Void>
  private let signal: AsyncStream<Void>.Continuation

  /// - Parameter capacity: How many replies may wait.
  init(capacity: Int) {
    self.capacity = capacity
    (signals, signal) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
  }

  /// - Returns: `false` where too many wait already.
  func enqueue(_ response: Response) -> Bool {
    let isAccepted = waiting.withLock { waiting in
      guard waiting.count < capacity else { return false }
      waiting.append(response)
      return true
    }
    if isAccepted { signal.yield() }
    return isAccepted
  }

  /// Ends ``run(_:)`` once nothing waits.
  func finish() {
    signal.finish()
  }

  /// Hands over all that waits, again and again, until ``finish()``.
  func run(_ commit: ([Response]) async -> Void) async {
    for await _ in signals { await drain(commit) }
    await drain(commit)
  }

  private func drain(_ commit: ([Response]) async -> Void) async {
    while true {
      let batch = waiting.withLock { waiting in
        let batch = waiting
        waiting = []
        return batch
      }
      guard !batch.isEmpty else { return }
      await commit(batch)
    }
  }
}
