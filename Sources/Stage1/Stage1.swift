import CLinux
import Glibc
import StateClient

/// Stage 1 as process 1 of the initramfs.
package enum Stage1 {
  /// Runs until the node's own init takes its place. Process 1 must not end: a kernel panic would say
  /// nothing to anyone.
  package static func run() -> Never {
    let startedAt = Clock.bootTime
    clinux_restart_on_fault(15)
    for signal in [SIGPIPE, SIGHUP, SIGINT, SIGTERM] { _ = Glibc.signal(signal, SIG_IGN) }
    umask(0o022)
    setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1)
    let boot = Boot(console: Console(descriptors: [2]), startedAt: startedAt)
    var sequence = BootSequence(
      boot: boot, restart: { restart() }, watch: { clinux_restart_when_hung(UInt32($0.rounded())) })
    sequence.run()
    boot.console = .open()
    boot.say("stage 1 has come to its end without an init; the machine restarts in 15 s")
    Clock.sleep(15)
    restart()
    while true { Clock.sleep(60) }
  }

  private static func restart() {
    Clock.sleep(3)
    // What a script has mounted is somebody's disk, and may be one that does not answer.
    clinux_sync(10)
    clinux_restart_when_hung(60)
    _ = clinux_restart()
    // Without the right to restart (a container) there is nothing left but to wait.
    while true { Clock.sleep(60) }
  }
}
