import CLinux
import Glibc
import StateClient

/// busybox, for scripts and for a person.
package enum Shell {
  private static let busybox = "/bin/busybox"
  static let environment = [
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/", "TERM": "linux", "PS1": "perseid# ",
  ]

  /// Links busybox's commands into /bin, so that scripts find them by their names. Without busybox
  /// there is nothing to link, and a script says itself what it misses.
  static func installApplets() {
    guard SmallFile.exists(busybox), !SmallFile.exists("/bin/mount") else { return }
    for directory in ["/bin", "/sbin", "/usr", "/usr/bin", "/usr/sbin"] { mkdir(directory, 0o755) }
    _ = try? ScriptRunner().run(busybox, arguments: ["--install", "-s"], environment: environment)
  }

  /// A shell on each console; the boot goes on when the person at one of them leaves it.
  static func run(_ boot: Boot, because reason: String) {
    installApplets()
    // The keyboard's driver may be among them.
    try? OtherModules.run(boot)
    boot.say("\(reason): a shell, as perseid.shell asks. Type exit to go on")
    var shells: [pid_t] = []
    for terminal in terminals(SmallFile.text("/sys/class/tty/console/active") ?? "console")
    where canBeTypedAt(terminal) {
      var pid: pid_t = 0
      let code = CStrings.with([busybox, "sh"], environment.map { "\($0.key)=\($0.value)" }) { arguments, variables in
        clinux_spawn_shell(&pid, busybox, arguments, variables, terminal)
      }
      if code == 0 {
        shells.append(pid)
      } else {
        boot.say("no shell on \(terminal): \(SystemError("start \(busybox)", code: code))")
      }
    }
    while !shells.isEmpty {
      let ended = waitpid(-1, nil, 0)
      if ended < 0 && errno != EINTR { break }
      guard let index = shells.firstIndex(of: ended) else { continue }
      shells.remove(at: index)
      break
    }
    for pid in shells { kill(-pid, SIGKILL) }
    let deadline = Clock.now + 5
    while let pid = shells.last, Clock.now < deadline {
      if waitpid(pid, nil, WNOHANG) != 0 { shells.removeLast() } else { Clock.sleep(0.005) }
    }
    // A shell's end hangs its terminal up: what was opened there before says nothing any more.
    boot.console.close()
    boot.console = .open()
  }

  /// Whether a terminal is there, and not at its end: a shell would end there at once, and with it everybody's.
  private static func canBeTypedAt(_ terminal: String) -> Bool {
    let descriptor = open(terminal, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    return poll(&entry, 1, 0) >= 0 && entry.revents & Int16(POLLHUP | POLLERR) == 0
  }

  /// What a shell can have as its terminal: `tty0` stands for the screen's current one, which the first is.
  package static func terminals(_ active: String) -> [String] {
    active.split(whereSeparator: \.isWhitespace).map { $0 == "tty0" ? "/dev/tty1" : "/dev/\($0)" }
  }
}
