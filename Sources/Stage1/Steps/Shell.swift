import CLinux
import Glibc
import StateClient

/// busybox, for scripts and for a person.
enum Shell {
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

  /// A shell on the console; the boot goes on when the person leaves it.
  static func run(_ boot: Boot, because reason: String) {
    installApplets()
    boot.say("\(reason): a shell, as perseid.shell asks. Type exit to go on")
    let name = (SmallFile.text("/sys/class/tty/console/active") ?? "console").split(separator: " ").last ?? "console"
    let descriptor = open("/dev/\(name)", O_RDWR | O_NOCTTY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    var pid: pid_t = 0
    let variables = environment.map { "\($0.key)=\($0.value)" }
    // cttyhack makes the terminal the shell's own, so that ^C reaches what it runs.
    let code = CStrings.with([busybox, "cttyhack", "/bin/sh"], variables) { arguments, variables in
      clinux_spawn_shell(&pid, busybox, arguments, variables, descriptor)
    }
    guard code == 0 else {
      boot.say("no shell: \(SystemError("start \(busybox)", code: code))")
      return
    }
    var status: CInt = 0
    while waitpid(pid, &status, 0) == -1 && errno == EINTR {}
  }
}
