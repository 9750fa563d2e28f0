import Glibc

/// State shared by threads, behind a lock, with waiting for its change.
///
/// @unchecked Sendable: the state is touched only in `update` and `wait`, which hold the lock.
package final class Monitor<State>: @unchecked Sendable {
  private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private var state: State

  package init(_ state: sending State) {
    self.state = state
    pthread_mutex_init(lock, nil)
    var attributes = pthread_condattr_t()
    pthread_condattr_init(&attributes)
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
    pthread_cond_init(changed, &attributes)
    pthread_condattr_destroy(&attributes)
  }

  deinit {
    pthread_cond_destroy(changed)
    pthread_mutex_destroy(lock)
    changed.deallocate()
    lock.deallocate()
  }

  /// Changes the state and wakes every waiting thread.
  package func update<Result: ~Copyable, Failure: Error>(
    _ change: (inout State) throws(Failure) -> sending Result
  ) throws(Failure) -> sending Result {
    pthread_mutex_lock(lock)
    defer {
      pthread_cond_broadcast(changed)
      pthread_mutex_unlock(lock)
    }
    return try change(&state)
  }

  /// Waits until `attempt` gives a value; others are woken then, as with `update`.
  /// - Parameter seconds: At most so long; `nil` without a bound, for threads that another ends.
  /// - Returns: `nil` when the time is over.
  package func wait<Result>(seconds: Double? = nil, for attempt: (inout State) -> sending Result?) -> sending Result? {
    let deadline = seconds.map { Clock.now + $0 }
    pthread_mutex_lock(lock)
    defer { pthread_mutex_unlock(lock) }
    while true {
      if let result = attempt(&state) {
        pthread_cond_broadcast(changed)
        return result
      }
      guard let deadline else {
        pthread_cond_wait(changed, lock)
        continue
      }
      guard Clock.now < deadline else { return nil }
      let whole = deadline.rounded(.down)
      var time = timespec(tv_sec: Int(whole), tv_nsec: Int((deadline - whole) * 1e9))
      pthread_cond_timedwait(changed, lock, &time)
    }
  }
}
