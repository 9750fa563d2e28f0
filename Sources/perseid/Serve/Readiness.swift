import Synchronization

/// Counts the parts that answer, and says once that all do.
final class Readiness: Sendable {
  private let missing: Mutex<Int>
  private let whenComplete: @Sendable () -> Void

  init(parts: Int, whenComplete: @escaping @Sendable () -> Void) {
    missing = Mutex(parts)
    self.whenComplete = whenComplete
  }

  /// One more part answers.
  func partAnswers() {
    let isComplete = missing.withLock { missing in
      missing -= 1
      return missing == 0
    }
    if isComplete { whenComplete() }
  }
}
