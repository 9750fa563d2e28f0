import Glibc

/// How long the machine itself stood still while something was measured on it.
///
/// A virtual machine whose host gives it no more time is stopped as a whole, for milliseconds at once, and more often the
/// more it does: what the slowest of a hundred answers took is then the host's doing, whoever answers.
struct MachineStalls: Codable, Sendable {
  /// Of the time that was watched.
  var share = 0.0

  /// Asked for each time, in seconds.
  private static let sleep = 0.000_5
  /// What is late by less was not the host's doing.
  private static let tolerance = 0.001

  /// Sleeps again and again, before all other programs where that is allowed, and sees when it is woken too late.
  static func watch(seconds: Double) -> MachineStalls {
    var priority = sched_param(sched_priority: 50)
    sched_setscheduler(0, SCHED_FIFO, &priority)
    var stalls = MachineStalls()
    let begin = clock()
    var now = begin
    while now - begin < seconds {
      var time = timespec(tv_sec: 0, tv_nsec: Int(sleep * 1e9))
      nanosleep(&time, nil)
      let woken = clock()
      let late = woken - now - sleep
      if late > tolerance { stalls.share += late / seconds }
      now = woken
    }
    return stalls
  }

  private static func clock() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }
}
