import Synchronization

/// Replies that wait for their leases to be on the disk.
///
/// While one commit runs, what comes in waits for the next, so that a burst costs a few commits and
/// no client waits for another's. What is refused here is only the reply: the client asks again.
/// From the store's thread a reply goes on to the wire without a change of threads.
final class CommitQueue: Sendable {
  /// Commits a batch, sends its replies, and calls `done`.
  typealias Commit = @Sendable (_ batch: [Response], _ done: @escaping @Sendable () -> Void) -> Void

  private struct State {
    var waiting: [Response] = []
    var commit: Commit?
    var isCommitting = false
    var isFinished = false
    var end: CheckedContinuation<Void, Never>?
  }

  private let capacity: Int
  private let state = Mutex(State())

  /// - Parameter capacity: How many replies may wait.
  init(capacity: Int) {
    self.capacity = capacity
  }

  /// Keeps a reply for the next ``flush()``.
  /// - Returns: `false` where too many wait already.
  func enqueue(_ response: Response) -> Bool {
    state.withLock { state in
      guard state.waiting.count < capacity else { return false }
      state.waiting.append(response)
      return true
    }
  }

  /// Begins a commit of all that waits; where one runs, the next begins at its end.
  func flush() {
    let next: (Commit, [Response])? = state.withLock { state in
      guard !state.isCommitting, !state.waiting.isEmpty, let commit = state.commit else { return nil }
      state.isCommitting = true
      return (commit, Self.take(&state))
    }
    if let (commit, batch) = next { commit(batch, goOn) }
  }

  /// Ends ``run(_:)`` once nothing waits.
  func finish() {
    state.withLock { $0.isFinished = true }
    flush()
    state.withLock { Self.end(of: &$0) }?.resume()
  }

  /// Has all that waits committed, again and again, until ``finish()``.
  func run(_ commit: @escaping Commit) async {
    state.withLock { $0.commit = commit }
    flush()
    await withCheckedContinuation { continuation in
      let end = state.withLock { state in
        state.end = continuation
        return Self.end(of: &state)
      }
      end?.resume()
    }
    state.withLock { $0.commit = nil }
  }

  /// What comes after a commit.
  private func goOn() {
    let (next, end) = state.withLock { state -> ((Commit, [Response])?, CheckedContinuation<Void, Never>?) in
      if !state.waiting.isEmpty, let commit = state.commit { return ((commit, Self.take(&state)), nil) }
      state.isCommitting = false
      return (nil, Self.end(of: &state))
    }
    if let (commit, batch) = next { commit(batch, goOn) }
    end?.resume()
  }

  private static func take(_ state: inout State) -> [Response] {
    let batch = state.waiting
    state.waiting = []
    return batch
  }

  /// Who waits for the end, if this is it.
  private static func end(of state: inout State) -> CheckedContinuation<Void, Never>? {
    guard state.isFinished, !state.isCommitting, state.waiting.isEmpty else { return nil }
    defer { state.end = nil }
    return state.end
  }
}
