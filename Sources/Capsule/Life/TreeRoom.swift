import CLinux

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Runs programs inside a tree as on a machine of its own: a chroot with mount and process name spaces of its own,
/// with /proc, /sys and /dev, a /run of its own, and the host's name servers. Nothing of that is in the tree
/// itself, but for a file that resolv.conf is put over where there is none, which is taken away again.
///
/// No jail: who is root in it can do what root can. Hooks come from the capsule, whose code runs on the nodes as root.
package struct TreeRoom {
  let directory: String
  /// Seconds from the request to end until those inside are killed.
  let patience: Int

  package init(directory: String, patience: Int = 10) {
    self.directory = directory
    self.patience = patience
  }

  /// Runs a program to its end. Processes that it leaves behind end with it. Where the task is cancelled, or the time is
  /// over, all in it are asked to end, and killed where they do not.
  ///
  /// What waits for it has threads of its own.
  ///
  /// - Parameters:
  ///   - command: A program in the tree with its arguments; empty for a shell.
  ///   - isInteractive: Whether it has this process's standard input and output; else nothing to read, and what it
  ///     prints goes to standard error.
  ///   - environment: Besides PATH, HOME and TERM.
  ///   - timeLimit: Seconds; `nil` for no bound.
  /// - Returns: The exit code; 128 and the number of a signal that ended it. `nil` where its time was over.
  /// - Throws: `CapsuleError`, or `CancellationError` once nothing of it is left.
  package func run(
    _ command: [String], isInteractive: Bool, environment: [String: String] = [:], timeLimit: Int?
  ) async throws -> Int32? {
    try await withTaskExecutorPreference(BuildExecutor()) {
      try Task.checkCancellation()
      return try runHere(command, isInteractive: isInteractive, environment: environment, timeLimit: timeLimit)
    }
  }

  private func runHere(
    _ command: [String], isInteractive: Bool, environment: [String: String], timeLimit: Int?
  ) throws -> Int32? {
    guard geteuid() == 0 else {
      throw CapsuleError(
        .tool, "Programs can be run inside a capsule by root only", remedy: "Run the command as root")
    }
    var variables = environment
    variables["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    variables["HOME"] = "/root"
    variables["LC_ALL"] = "C.UTF-8"
    variables["TERM"] = getenv("TERM").map { String(cString: $0) } ?? "dumb"
    let shell = ["/bin/sh", "-c", "[ -x /bin/bash ] && exec /bin/bash -l; exec /bin/sh -l"]
    let words =
      ProgramEnd.withThisProcess + [
        "unshare", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--propagation", "private", "/bin/sh", "-c",
        Self.script, "perseid-room", directory, "env", "-i",
      ] + variables.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" } + ["chroot", directory]
      + (command.isEmpty ? shell : command)
    guard let null = FileDescriptor.open("/dev/null", O_RDONLY) else {
      throw CapsuleError.reading("/dev/null", errno: errno)
    }
    var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
    arguments.append(nil)
    defer { for argument in arguments { free(argument) } }
    var process: pid_t = 0
    // A group of its own hears of Ctrl-C from here alone, once; a shell stays in that of the terminal.
    let failure =
      isInteractive
      ? clinux_spawn_interactive(&process, &arguments) : clinux_spawn_tool(&process, &arguments, null.number, 2)
    guard failure == 0 else {
      throw CapsuleError(
        .tool, "The program 'setpriv' cannot be started: \(CapsuleError.text(of: failure))",
        remedy: "Install the package util-linux")
    }
    var status: Int32 = 0
    let deadline = timeLimit.map { ContinuousClock.now + .seconds($0) }
    while waitpid(process, &status, WNOHANG) != process {
      let isLate = deadline.map { ContinuousClock.now >= $0 } ?? false
      if Task.isCancelled || isLate {
        ProgramEnd.stop(process, patience: patience)
        Self.takeBackNames(in: directory)
        try Task.checkCancellation()
        return nil
      }
      usleep(20_000)
    }
    let signal = status & 0x7F
    return signal == 0 ? status >> 8 & 0xFF : 128 + signal
  }

  /// What is in the file that resolv.conf is put over. The time of its last change is that which its directory had.
  private static let lentNames = "# Of perseid, for a program in this tree: taken away with it."

  /// Takes away what a program left that was killed: the file that resolv.conf was put over. Where another program runs
  /// in the tree, it stays for that.
  package static func takeBackNames(in directory: String) {
    let etc = directory + "/etc"
    let path = etc + "/resolv.conf"
    var status = stat()
    guard lstat(etc, &status) == 0, status.st_mode & S_IFMT == S_IFDIR,
      let file = FileDescriptor.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK), fstat(file.number, &status) == 0,
      status.st_mode & S_IFMT == S_IFREG, Int(status.st_size) == lentNames.utf8.count + 1
    else { return }
    var text = [UInt8](repeating: 0, count: Int(status.st_size))
    guard text.withUnsafeMutableBytes({ file.fill($0) }) == text.count, text == Array((lentNames + "\n").utf8),
      flock(file.number, LOCK_EX | LOCK_NB) == 0, unlink(path) == 0
    else { return }
    var times = [status.st_mtim, status.st_mtim]
    utimensat(AT_FDCWD, etc, &times, AT_SYMLINK_NOFOLLOW)
  }

  /// `$1` is the tree, what is behind it the command. Mounts are gone with the name space. A tree is not to be trusted:
  /// nothing is mounted where a link could lead out of it.
  private static let script = """
    set -eu
    tree=$1
    shift
    plain() { [ -d "$1" ] && [ ! -L "$1" ]; }
    if plain "$tree/proc"; then mount -t proc proc "$tree/proc"; fi
    if plain "$tree/sys"; then mount --rbind /sys "$tree/sys"; fi
    if plain "$tree/dev"; then mount --rbind /dev "$tree/dev"; fi
    lent=
    if plain "$tree/run" && plain "$tree/etc" && [ -r /etc/resolv.conf ]; then
      names=$tree/run/perseid-resolv.conf
      stamp=$tree/run/perseid-stamp
      mount -t tmpfs -o mode=755 tmpfs "$tree/run"
      cat /etc/resolv.conf >"$names"
      if [ -L "$tree/etc/resolv.conf" ]; then
        # As a rule to a file that a service makes in /run, which is ours here.
        target=$(readlink "$tree/etc/resolv.conf")
        case $target in
          /run/*) target=${target#/} ;;
          ../run/*) target=${target#../} ;;
          *) target= ;;
        esac
        case $target in '' | *..*) ;; *) mkdir -p "$tree/${target%/*}" && cp "$names" "$tree/$target" ;; esac
      else
        if [ ! -e "$tree/etc/resolv.conf" ]; then
          touch -r "$tree/etc" "$stamp"
          echo '\(lentNames)' >"$tree/etc/resolv.conf"
          touch -r "$stamp" "$tree/etc/resolv.conf"
        fi
        # The last of several programs in the tree takes it away.
        if [ -f "$tree/etc/resolv.conf" ] && [ "$(head -c 100 "$tree/etc/resolv.conf")" = '\(lentNames)' ]; then
          lent=1
          exec 9<"$tree/etc/resolv.conf"
          flock -s 9
        fi
        mount --bind "$names" "$tree/etc/resolv.conf"
      fi
    fi
    status=0
    "$@" 9<&- || status=$?
    if [ -n "$lent" ] && umount -l "$tree/etc/resolv.conf" && flock -xn 9; then
      touch -r "$tree/etc/resolv.conf" "$stamp"
      rm -f "$tree/etc/resolv.conf"
      touch -r "$stamp" "$tree/etc"
    fi
    exit $status
    """
}
