import Dispatch
import Glibc

/// Runs `body`, and cancels it where the person presses Ctrl-C, or the process is asked to end.
///
/// - Throws: `CancellationError` where that happened, once `body` has cleaned up after itself.
func interruptible<Value: Sendable>(_ body: @escaping @Sendable () async throws -> Value) async throws -> Value {
  let (interrupts, continuation) = AsyncStream.makeStream(of: Void.self)
  let sources = [SIGINT, SIGTERM].map { number in
    signal(number, SIG_IGN)
    let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
    source.setEventHandler { continuation.yield() }
    source.activate()
    return source
  }
  defer {
    for source in sources { source.cancel() }
    for number in [SIGINT, SIGTERM] { signal(number, SIG_DFL) }
  }
  return try await withThrowingTaskGroup(of: Value?.self) { tasks in
    tasks.addTask { try await body() }
    tasks.addTask {
      for await _ in interrupts { return nil }
      return nil
    }
    defer { tasks.cancelAll() }
    guard let first = try await tasks.next(), let value = first else {
      tasks.cancelAll()
      // Only what it throws is of interest: it may have ended just before it saw the cancellation.
      if let last = try await tasks.next(), let value = last { return value }
      throw CancellationError()
    }
    return value
  }
}
