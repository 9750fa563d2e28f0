import Dispatch
import Synchronization

extension Duration {
  /// In seconds.
  package var seconds: Double {
    Double(components.seconds) + Double(components.attoseconds) / 1e18
  }
}

/// A continuation that is resumed once: by what was waited for, by its time running out, or by cancellation.
final class Waiter<Value: Sendable>: Sendable {
  private let continuation = Mutex<CheckedContinuation<Value?, Never>?>(nil)
  private let early = Mutex<Value??>(nil)

  /// Resumes the one who waits; later calls do nothing.
  /// - Returns: Whether this call was the first.
  @discardableResult
  func resume(with value: Value?) -> Bool {
    let waiting = continuation.withLock { waiting -> CheckedContinuation<Value?, Never>? in
      defer { waiting = nil }
      if waiting == nil {
        early.withLock { if $0 == nil { $0 = .some(value) } }
      }
      return waiting
    }
    waiting?.resume(returning: value)
    return waiting != nil
  }

  /// - Returns: The value, or `nil` when `timeout` ran out or the task was cancelled first.
  func value(within timeout: Duration) async -> Value? {
    await withTaskCancellationHandler {
      await withCheckedContinuation { (new: CheckedContinuation<Value?, Never>) in
        let already = continuation.withLock { waiting -> Value?? in
          let already = early.withLock { $0 }
          if already == nil { waiting = new }
          return already
        }
        if let already {
          new.resume(returning: already)
        } else {
          DispatchQueue.global().asyncAfter(deadline: .now() + timeout.seconds) { self.resume(with: nil) }
        }
      }
    } onCancel: {
      resume(with: nil)
    }
  }
}
