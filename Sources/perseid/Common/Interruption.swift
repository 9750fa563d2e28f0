import Dispatch
import Glibc
import Synchronization

/// Runs `body`, and cancels it where the person presses Ctrl-C, or the process is asked to end.
///
/// - Throws: `CancellationError` where that happened, once `body` has cleaned up after itself.
func interruptible<Value: Sendable>(
  by signals: [Int32] = [SIGINT, SIGTERM], _ body: @escaping @Sendable () async throws -> Value
) async throws -> Value {
  let (interrupts, continuation) = AsyncStream.makeStream(of: Void.self)
  let listener = Interrupts.shared.listen(to: signals) { continuation.yield() }
  defer { withExtendedLifetime(listener) {} }
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

/// Who listens to which signal of this process. A signal that nobody listens to ends it.
///
/// The sources are made once and stay: Dispatch does not hear a signal again whose source has gone.
final class Interrupts: Sendable {
  static let shared = Interrupts()

  private struct State {
    var sources: [Int32: any DispatchSourceSignal] = [:]
    var listeners: [Int: (signals: [Int32], heard: @Sendable () -> Void)] = [:]
    var next = 0
  }

  private let state = Mutex(State())

  /// Listens until it is let go of.
  final class Listener: Sendable {
    private let number: Int

    fileprivate init(_ number: Int) { self.number = number }

    deinit { Interrupts.shared.forget(number) }
  }

  func listen(to signals: [Int32], _ heard: @escaping @Sendable () -> Void) -> Listener {
    state.withLock { state in
      let number = state.next
      state.next += 1
      state.listeners[number] = (signals, heard)
      for number in signals where state.sources[number] == nil {
        // Until the source is there.
        signal(number, SIG_IGN)
        let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
        source.setEventHandler { [self] in hear(number) }
        source.activate()
        state.sources[number] = source
      }
      return Listener(number)
    }
  }

  private func forget(_ number: Int) { state.withLock { _ = $0.listeners.removeValue(forKey: number) } }

  private func hear(_ number: Int32) {
    let heard = state.withLock { state in
      state.listeners.values.filter { $0.signals.contains(number) }.map(\.heard)
    }
    if heard.isEmpty {
      signal(number, SIG_DFL)
      kill(getpid(), number)
    }
    for heard in heard { heard() }
  }
}
