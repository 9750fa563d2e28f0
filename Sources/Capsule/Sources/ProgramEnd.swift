#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The end of a program that does not end by itself, with all that it started.
enum ProgramEnd {
  /// Seconds from the request to end until it is killed.
  static let patience = 10

  /// In front of a command whose caller waits for it in one thread: it is killed when this process is gone, however that
  /// ended.
  static let withThisProcess = ["setpriv", "--pdeathsig", "KILL"]

  /// Asks a child of this process, its process group and all that are in process name spaces it made to end, and kills
  /// them `patience` seconds later where they do not. Returns when none of them is left.
  ///
  /// - Parameter process: A child that is not waited for yet; the leader of a process group, or `unshare --fork`.
  static func stop(_ process: pid_t, patience: Int = ProgramEnd.patience) {
    let isLeader = getpgid(process) == process
    if isLeader { kill(-process, SIGTERM) }
    for space in ProcessSpace.made(by: process) {
      // Daemons have left the group.
      for member in space.members() where !isLeader || getpgid(member) != process { kill(member, SIGTERM) }
    }
    if hasEnded(process, within: patience) {
      if isLeader { kill(-process, SIGKILL) }
      return
    }
    // The first process of a name space is waited for by its parent, and ends behind all others in it: so it goes
    // before its parent does.
    let spaces = ProcessSpace.made(by: process)
    for space in spaces { kill(space.first, SIGKILL) }
    if !spaces.isEmpty, hasEnded(process, within: Self.patience) {
      if isLeader { kill(-process, SIGKILL) }
      return
    }
    kill(isLeader ? -process : process, SIGKILL)
    var status: Int32 = 0
    while waitpid(process, &status, 0) < 0 && errno == EINTR {}
  }

  private static func hasEnded(_ process: pid_t, within seconds: Int) -> Bool {
    let deadline = ContinuousClock.now + .seconds(seconds)
    var status: Int32 = 0
    while waitpid(process, &status, WNOHANG) == 0 {
      guard ContinuousClock.now < deadline else { return false }
      usleep(20_000)
    }
    return true
  }
}

/// A process name space that a child of this process has made.
private struct ProcessSpace {
  /// This process's number of its first process.
  let first: pid_t
  /// What /proc says of it.
  private let identity: String

  /// Those whose first process is a child of `process`.
  static func made(by process: pid_t) -> [ProcessSpace] {
    guard let own = identity(of: "self") else { return [] }
    return all().compactMap { candidate in
      guard parent(of: candidate) == process, let identity = identity(of: "\(candidate)"), identity != own else {
        return nil
      }
      return ProcessSpace(first: candidate, identity: identity)
    }
  }

  /// All that are in it, but the first: that ends when they do.
  func members() -> [pid_t] {
    Self.all().filter { $0 != first && Self.identity(of: "\($0)") == identity }
  }

  private static func all() -> [pid_t] {
    guard let directory = opendir("/proc") else { return [] }
    defer { closedir(directory) }
    var found: [pid_t] = []
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: entry.pointee.d_name) {
        String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
      }
      if let number = pid_t(name) { found.append(number) }
    }
    return found
  }

  private static func identity(of process: String) -> String? {
    var text = [CChar](repeating: 0, count: 64)
    let length = readlink("/proc/\(process)/ns/pid", &text, text.count)
    guard length > 0 else { return nil }
    return String(decoding: text.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  private static func parent(of process: pid_t) -> pid_t? {
    guard let file = FileDescriptor.open("/proc/\(process)/stat", O_RDONLY) else { return nil }
    var bytes = [UInt8](repeating: 0, count: 512)
    let count = bytes.withUnsafeMutableBytes { read(file.number, $0.baseAddress, $0.count) }
    guard count > 0 else { return nil }
    // `number (name) state parent ...`, and a name may have blanks and brackets in it.
    let fields = bytes.prefix(count).split(separator: UInt8(ascii: ")"), omittingEmptySubsequences: false).last?
      .split(separator: UInt8(ascii: " "))
    guard let fields, fields.count > 1 else { return nil }
    return pid_t(String(decoding: fields[1], as: UTF8.self))
  }
}
