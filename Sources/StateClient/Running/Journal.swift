import Glibc

/// Lines for the journal; for whatever reads standard error where no systemd runs; for the kernel's log where nobody
/// does.
package enum Journal {
  /// Levels of syslog(3), as systemd reads them in front of a line (sd-daemon(3)).
  package enum Level: Int, Sendable {
    case error = 3
    case warning = 4
    case notice = 5
    case info = 6
  }

  package enum Target: Sendable {
    /// systemd reads standard error, and knows the program.
    case journal
    case standardError
    case kernel
  }

  package static func say(_ line: String, _ level: Level = .info) {
    let target = target
    let bytes = Array(text(line, level, for: target).utf8)
    if target == .kernel, let file = try? OpenFile("/dev/kmsg", flags: O_WRONLY) {
      _ = write(file.descriptor, bytes, bytes.count)
    } else {
      _ = write(2, bytes, bytes.count)
    }
  }

  /// What is written: each line with its level and the program's name as the target needs them.
  package static func text(_ line: String, _ level: Level, for target: Target) -> String {
    line.split(whereSeparator: \.isNewline).map { line in
      switch target {
      case .journal: "<\(level.rawValue)>\(line)\n"
      case .standardError: "perseid-node: \(line)\n"
      // 3 << 3: a daemon's (kmsg, dev-kmsg in the kernel's documentation).
      case .kernel: "<\(24 | level.rawValue)>perseid-node: \(line)\n"
      }
    }.joined()
  }

  private static var target: Target {
    if getenv("JOURNAL_STREAM") != nil { return .journal }
    var own = stat()
    var null = stat()
    guard fstat(2, &own) == 0 else { return .kernel }
    let isNowhere = stat("/dev/null", &null) == 0 && own.st_rdev == null.st_rdev && own.st_mode == null.st_mode
    return isNowhere && getuid() == 0 ? .kernel : .standardError
  }
}
