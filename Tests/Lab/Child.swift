import CLinux
import Foundation
import Glibc
import Synchronization

/// A child process in a process group of its own, reaped by a thread that waits for it.
final class Child: Sendable {
  let pid: pid_t
  private struct State {
    var status: ExitStatus?
    var waiters: [Waiter<ExitStatus>] = []
  }
  private let state = Mutex(State())
  /// Signalled once when it has ended.
  private let ended = DispatchSemaphore(value: 0)

  /// A child that ends without reading all its input must not end us: writing then fails with EPIPE instead.
  private static let ignoresBrokenPipes: Void = { _ = Glibc.signal(SIGPIPE, SIG_IGN) }()

  /// - Parameters:
  ///   - output: A descriptor that becomes standard output; the caller closes its own.
  ///   - errors: A descriptor that becomes standard error; the caller closes its own.
  ///   - input: A descriptor that becomes standard input; `nil` is /dev/null.
  init(_ command: Command, input: Int32? = nil, output: Int32, errors: Int32) throws {
    _ = Self.ignoresBrokenPipes
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    if let input {
      posix_spawn_file_actions_adddup2(&actions, input, 0)
    } else {
      posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    }
    posix_spawn_file_actions_adddup2(&actions, output, 1)
    posix_spawn_file_actions_adddup2(&actions, errors, 2)
    // A server's connection that a child had too would not end when the server closes it.
    clinux_spawn_close_from(&actions, 3)

    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var signals = sigset_t()
    sigemptyset(&signals)
    posix_spawnattr_setsigmask(&attributes, &signals)
    sigfillset(&signals)
    posix_spawnattr_setsigdefault(&attributes, &signals)
    posix_spawnattr_setpgroup(&attributes, 0)
    posix_spawnattr_setflags(
      &attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

    let words = command.words
    guard let program = words.first else { throw LabError("a command without words cannot be run") }
    let environment = ProcessInfo.processInfo.environment.merging(command.environment) { $1 }
    var pid = pid_t()
    let code = withCStrings(words) { arguments in
      withCStrings(environment.map { "\($0)=\($1)" }) { variables in
        posix_spawnp(&pid, program, &actions, &attributes, arguments, variables)
      }
    }
    guard code == 0 else {
      throw LabError("cannot run \(command): \(String(cString: strerror(code)))")
    }
    self.pid = pid
    Thread.detachNewThread { [self] in reap() }
  }

  private func reap() {
    // First without reaping: while the lock is not held, the process identifier stays ours to signal.
    var info = siginfo_t()
    while waitid(P_PID, id_t(pid), &info, WEXITED | WNOWAIT) == -1, errno == EINTR {}
    let waiters = state.withLock { state -> [Waiter<ExitStatus>] in
      var raw: Int32 = 0
      while waitpid(pid, &raw, 0) == -1, errno == EINTR {}
      let signal = raw & 0x7f
      state.status = signal == 0 ? .exited(raw >> 8 & 0xff) : .killed(signal: signal)
      defer { state.waiters = [] }
      return state.waiters
    }
    let status = state.withLock { $0.status }
    for waiter in waiters { waiter.resume(with: status) }
    ended.signal()
  }

  /// `nil` while it runs.
  var status: ExitStatus? { state.withLock { $0.status } }

  /// - Returns: `nil` where it still runs after `timeout`.
  func wait(within timeout: Duration) async -> ExitStatus? {
    let waiter = Waiter<ExitStatus>()
    let already = state.withLock { state -> ExitStatus? in
      if state.status == nil { state.waiters.append(waiter) }
      return state.status
    }
    if let already { return already }
    return await waiter.value(within: timeout)
  }

  /// Blocks the calling thread.
  /// - Returns: `nil` where it still runs after `timeout`.
  func waitHere(within timeout: Duration) -> ExitStatus? {
    // For whoever else waits.
    if ended.wait(timeout: .now() + timeout.seconds) == .success { ended.signal() }
    return status
  }

  /// Sends a signal, unless it has ended.
  /// - Parameter group: To its whole process group.
  func signal(_ signal: Int32, group: Bool = false) {
    state.withLock { state in
      if state.status == nil { _ = kill(group ? -pid : pid, signal) }
    }
  }

  /// Kills what its process group still holds, also after it has ended itself.
  ///
  /// A group's number is not used again while the group has members, and it has ended where it has none.
  func killGroup() {
    _ = kill(-pid, SIGKILL)
  }
}

/// A pipe whose ends no child inherits.
func makePipe() throws -> (read: Int32, write: Int32) {
  var ends: [Int32] = [0, 0]
  guard pipe(&ends) == 0 else { throw LabError("cannot make a pipe: \(String(cString: strerror(errno)))") }
  for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
  return (ends[0], ends[1])
}

/// The strings as a null-terminated array of C strings for the time of `body`.
private func withCStrings<Result>(
  _ strings: [String], _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Result
) -> Result {
  var pointers: [UnsafeMutablePointer<CChar>?] = strings.map { strdup($0) }
  pointers.append(nil)
  defer { for pointer in pointers { free(pointer) } }
  return pointers.withUnsafeMutableBufferPointer { buffer in
    guard let base = buffer.baseAddress else { preconditionFailure("an array with one element has an address") }
    return body(base)
  }
}
