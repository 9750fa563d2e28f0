import Glibc

/// The clocks that go on whatever the wall clock does. Seconds.
package enum Clock {
  /// CLOCK_BOOTTIME: since the kernel started, suspend included.
  package static var bootTime: Double { read(CLOCK_BOOTTIME) }

  /// CLOCK_MONOTONIC, for time limits.
  package static var now: Double { read(CLOCK_MONOTONIC) }

  private static func read(_ clock: clockid_t) -> Double {
    var time = timespec()
    clock_gettime(clock, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }

  /// Stops the calling thread; a signal does not shorten it.
  package static func sleep(_ seconds: Double) {
    guard seconds > 0, seconds.isFinite else { return }
    var rest = timespec(tv_sec: Int(seconds), tv_nsec: Int((seconds - seconds.rounded(.down)) * 1e9))
    while nanosleep(&rest, &rest) == -1 && errno == EINTR {}
  }
}
