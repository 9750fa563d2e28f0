import CLinux
import Glibc
import StateClient
import StateProtocol

/// Makes the filled root the root, and becomes its init.
enum SwitchRoot {
  static func run(_ boot: Boot) throws {
    let candidates = inits(boot)
    guard program(boot) != nil else {
      throw StepFailure(
        what: "the root has no init: none of \(candidates.joined(separator: ", ")) is there; "
          + "was the capsule made of a whole tree?",
        canRetry: true)
    }
    if boot.commandLine.wantsShell { Shell.run(boot, because: "before switching root") }
    boot.report(StepEvent(step: "switch-root", outcome: .started))
    boot.say("switching to the node's own root after \(milliseconds(Clock.bootTime)) ms")
    if getpid() == 1 { endOthers() }
    do {
      // From here on nothing can be tried again: the old root goes.
      try moveMounts(to: boot.newRoot)
      try check("enter \(boot.newRoot)") { chdir(boot.newRoot) }
      try freeOldRoot(keeping: boot.newRoot)
      try check("move \(boot.newRoot) to /") { mount(".", "/", nil, clinux_mount_flag_move(), nil) }
      try check("make it the root") { chroot(".") }
      try check("enter /") { chdir("/") }
    } catch {
      throw NoWayBack(reason: "\(error)")
    }
    throw NoWayBack(reason: becomeInit(candidates))
  }

  /// Ends what scripts left running. What the kernel does not let go is left behind.
  private static func endOthers() {
    kill(-1, SIGKILL)
    let deadline = Clock.now + 5
    while Clock.now < deadline {
      let ended = waitpid(-1, nil, WNOHANG)
      if ended < 0 && errno != EINTR { return }
      if ended == 0 { Clock.sleep(0.005) }
    }
  }

  /// What becomes process 1, a path in the new root; `nil` where there is no init.
  static func program(_ boot: Boot) -> String? {
    let root = RootedPath(boot.newRoot)
    return inits(boot).first { root.exists($0) }
  }

  private static func inits(_ boot: Boot) -> [String] {
    // The kernel's own `init=` is meant for the root's init, as every initramfs reads it.
    let named = boot.commandLine.value("init").map { $0.hasPrefix("/") ? [$0] : [] } ?? []
    return named + ["/sbin/init", "/lib/systemd/systemd", "/usr/lib/systemd/systemd", "/etc/init", "/bin/init"]
  }

  private static func moveMounts(to root: String) throws {
    umount2("/tmp", CInt(MNT_DETACH))
    for path in ["/dev", "/proc", "/sys", "/run"] {
      mkdir(root + path, 0o755)
      try check("move \(path) into the new root") { mount(path, root + path, nil, clinux_mount_flag_move(), nil) }
    }
  }

  /// The initramfs's files are memory: they are removed, whatever is mounted is not.
  private static func freeOldRoot(keeping newRoot: String) throws {
    // ramfs or tmpfs, as the kernel's root before any other: anything else is somebody's disk.
    let type = clinux_filesystem_type("/")
    guard getpid() == 1, type == 0x8584_58F6 || type == 0x0102_1994 else { return }
    var status = stat()
    try check("look at /") { stat("/", &status) }
    remove("", device: status.st_dev, depth: 0)
  }

  private static func remove(_ directory: String, device: dev_t, depth: Int) {
    guard depth < 64 else { return }
    for name in SmallFile.names(in: directory.isEmpty ? "/" : directory) {
      let path = directory + "/" + name
      var status = stat()
      guard lstat(path, &status) == 0, status.st_dev == device else { continue }
      if status.st_mode & S_IFMT == S_IFDIR {
        remove(path, device: device, depth: depth + 1)
        rmdir(path)
      } else {
        unlink(path)
      }
    }
  }

  /// - Returns: Why none of them could be started.
  private static func becomeInit(_ candidates: [String]) -> String {
    let console = open("/dev/console", O_RDWR | O_NOCTTY)
    if console >= 0 {
      for descriptor in CInt(0)...2 { dup2(console, descriptor) }
      if console > 2 { close(console) }
    }
    for descriptor in CInt(3)..<256 { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
    var none = sigset_t()
    sigemptyset(&none)
    sigprocmask(SIG_SETMASK, &none, nil)
    for signal in CInt(1)..<32 { _ = Glibc.signal(signal, SIG_DFL) }
    umask(0o022)
    var failures: [String] = []
    for path in candidates {
      CStrings.with([path], ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/", "TERM=linux"]) { arguments, variables in
        _ = execve(path, arguments, variables)
        let code = errno
        if code != ENOENT { failures.append("\(SystemError("start \(path)", code: code))") }
      }
    }
    // This process goes on, and must not end.
    clinux_restart_on_fault(15)
    for signal in [SIGPIPE, SIGHUP, SIGINT, SIGTERM] { _ = Glibc.signal(signal, SIG_IGN) }
    return failures.isEmpty
      ? "none of \(candidates.joined(separator: ", ")) could be started" : failures.joined(separator: "; ")
  }
}
