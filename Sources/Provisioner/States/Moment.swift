import Glibc

/// A moment on two clocks: the wall's, for people, which may jump in either direction; and the machine's own, by
/// which deadlines and silence are measured.
package struct Moment: Hashable, Sendable {
  package var time: Timestamp
  /// Seconds since this machine was started, those in suspend included.
  package var uptime: Double

  package init(time: Timestamp, uptime: Double) {
    self.time = time
    self.uptime = uptime
  }

  package static var now: Moment {
    var clock = timespec()
    clock_gettime(CLOCK_BOOTTIME, &clock)
    return Moment(time: .now, uptime: Double(clock.tv_sec) + Double(clock.tv_nsec) / 1_000_000_000)
  }

  /// Seconds from one moment to this one, by the machine's own clock.
  package func seconds(since other: Moment) -> Double { uptime - other.uptime }

  package func adding(seconds: Double) -> Moment {
    Moment(time: time.adding(seconds: seconds), uptime: uptime + seconds)
  }
}
