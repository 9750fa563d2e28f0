import CLinux
import Glibc

/// Runs a script as a program of its own, and keeps the end of what it prints.
package struct ScriptRunner {
  package struct Result: Hashable, Sendable {
    /// The exit code, or 128 and the signal.
    package var exitCode: Int32
    /// The last output, both streams, at most `outputLimit` bytes.
    package var output: String
    package var seconds: Double
    /// Whether it was ended because its time was over.
    package var wasEnded: Bool
  }

  /// Bytes of output that are kept.
  package var outputLimit = 4096
  /// Seconds a script may take.
  package var timeLimit = 1800.0
  /// Seconds between asking it to end and ending it.
  package var grace = 3.0

  package init() {}

  /// Runs the program at `path` in a process group of its own, with nothing on standard input.
  ///
  /// Returns when the program has ended, whatever it left running that holds its output open.
  /// - Parameters:
  ///   - echo: Called with the output as it comes.
  ///   - meanwhile: Called some 20 times a second while it runs.
  /// - Throws: Where it could not be started.
  package func run(
    _ path: String, arguments: [String] = [], environment: [String: String],
    echo: (UnsafeRawBufferPointer) -> Void = { _ in }, meanwhile: () -> Void = {}
  ) throws(SystemError) -> Result {
    var ends: [CInt] = [-1, -1]
    try check("make a pipe for \(path)") { pipe(&ends) }
    let reading = OpenFile(owning: ends[0])
    var writing: OpenFile? = OpenFile(owning: ends[1])
    for end in ends { try check("set up a pipe") { fcntl(end, F_SETFD, FD_CLOEXEC) } }
    // For this side alone: a script's own writes must wait.
    try check("set up a pipe") { fcntl(ends[0], F_SETFL, O_NONBLOCK) }
    let started = Clock.now
    let pid = try spawn(path, arguments, environment, output: ends[1])
    writing = nil
    _ = writing
    var tail: [UInt8] = []
    var status: CInt?
    var askedAt: Double?
    var isOpen = true
    while true {
      isOpen = isOpen && drain(reading, into: &tail, waiting: status == nil ? 50 : 0, echo: echo)
      if status != nil { break }
      status = waited(for: pid)
      if status != nil { continue }
      meanwhile()
      if !isOpen { Clock.sleep(0.005) }
      let elapsed = Clock.now - started
      if let asked = askedAt {
        if Clock.now - asked >= grace { kill(-pid, SIGKILL) }
        // The kernel does not let it go (a disk that does not answer): it is left behind.
        if Clock.now - asked >= grace + 30 { status = SIGKILL }
      } else if elapsed >= timeLimit {
        kill(-pid, SIGTERM)
        askedAt = Clock.now
      }
    }
    return Result(
      exitCode: clinux_exit_code(status ?? 0), output: String(decoding: tail, as: UTF8.self),
      seconds: Clock.now - started, wasEnded: askedAt != nil)
  }

  private func waited(for pid: pid_t) -> CInt? {
    var status: CInt = 0
    let result = waitpid(pid, &status, WNOHANG)
    if result == pid { return status }
    // Someone else has reaped it: its code is lost, which is no success.
    return result == -1 && errno == ECHILD ? CInt(255 << 8) : nil
  }

  /// - Returns: Whether more can come.
  private func drain(
    _ file: borrowing OpenFile, into tail: inout [UInt8], waiting milliseconds: CInt,
    echo: (UnsafeRawBufferPointer) -> Void
  ) -> Bool {
    var entry = pollfd(fd: file.descriptor, events: Int16(POLLIN), revents: 0)
    guard poll(&entry, 1, milliseconds) > 0 else { return true }
    var piece = [UInt8](repeating: 0, count: 4096)
    // A script that prints without end is read in portions, so that its time limit is seen.
    for _ in 0..<64 {
      let count = Glibc.read(file.descriptor, &piece, piece.count)
      if count == 0 { return false }
      guard count > 0 else { return true }
      piece.withUnsafeBytes { echo(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
      tail.append(contentsOf: piece[..<count])
      if tail.count > outputLimit { tail.removeFirst(tail.count - outputLimit) }
    }
    return true
  }

  /// A file without `#!` is run by /bin/sh, as a shell would.
  private func spawn(
    _ path: String, _ arguments: [String], _ environment: [String: String], output: CInt
  ) throws(SystemError) -> pid_t {
    let variables = environment.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
    var pid: pid_t = 0
    var code: CInt = 0
    for _ in 0..<200 {
      code = CStrings.with([path] + arguments, variables) { arguments, variables in
        clinux_spawn(&pid, path, arguments, variables, output)
      }
      // What another thread starts at this moment has the file open for writing until it is its own program.
      guard code == ETXTBSY else { break }
      Clock.sleep(0.01)
    }
    if code == ENOEXEC {
      code = CStrings.with(["/bin/sh", path] + arguments, variables) { arguments, variables in
        clinux_spawn(&pid, "/bin/sh", arguments, variables, output)
      }
    }
    guard code == 0 else { throw SystemError("start \(path)", code: code) }
    return pid
  }
}

/// Null-terminated lists of C strings, as exec takes them.
package enum CStrings {
  package typealias List = UnsafePointer<UnsafeMutablePointer<CChar>?>

  package static func with<Result>(_ first: [String], _ second: [String], _ body: (List, List) -> Result) -> Result {
    let lists = [first, second].map { list in list.map { strdup($0) } + [nil] }
    defer { for list in lists { for string in list { free(string) } } }
    return lists[0].withUnsafeBufferPointer { first in
      lists[1].withUnsafeBufferPointer { second in
        guard let firstBase = first.baseAddress, let secondBase = second.baseAddress else {
          preconditionFailure("a terminated list has a first element")
        }
        return body(firstBase, secondBase)
      }
    }
  }
}
