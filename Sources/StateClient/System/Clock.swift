import Glibc

/// The clocks that go on whatever the wall clock does. Seconds.
package enum Clock {
  /// CLOCK_BOOTTIME: since the kernel started, suspend included.
  package static var bootTime: Double { read(CLOCK_BOOTTIME) }

  /// CLOCK_MONOTONIC, for time limits.
  package static var now: Double { read(CLOCK_MONOTONIC) }

  /// CLOCK_THREAD_CPUTIME_ID: what the calling thread has used of a processor.
  package static var threadTime: Double { read(CLOCK_THREAD_CPUTIME_ID) }

  private static func read(_ clock: clockid_t) -> Double {
    var time = timespec()
    clock_gettime(clock, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }

  /// Stops the calling thread; a signal does not shorten it.
  package static func sleep(_ seconds: Double) {
    guard seconds > 0, seconds.isFinite else { return }
    let deadline = now + min(seconds, 1e9)
    while true {
      let rest = deadline - now
      guard rest > 0 else { return }
      let whole = rest.rounded(.down)
      var time = timespec(tv_sec: Int(whole), tv_nsec: Int((rest - whole) * 1e9))
      nanosleep(&time, nil)
    }
  }
}
