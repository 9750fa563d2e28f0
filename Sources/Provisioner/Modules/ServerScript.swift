import CLinux
import Dispatch
import Glibc
import Synchronization

/// Runs a nodescript named `.server` on the appliance: as nobody where we are root, in a session of its
/// own, with a limit for its time and its output.
package struct ServerScript: Sendable {
  /// Seconds.
  package var timeLimit: Int
  package static let outputLimit = NodescriptTree.sizeLimit
  /// As many at one time; the others wait their turn.
  package static let parallel = 8

  private let gate = Gate(ServerScript.parallel)

  package init(timeLimit: Int) {
    self.timeLimit = timeLimit
  }

  /// - Returns: What it printed.
  /// - Throws: `ApplianceError` where it cannot be run, ends with another code than 0, or exceeds a limit.
  package func run(_ script: Nodescript, content: [UInt8], environment: [String: String]) async throws -> [UInt8] {
    await gate.enter()
    let limit = timeLimit
    let result: Result<[UInt8], ApplianceError> = await withCheckedContinuation { continuation in
      DispatchQueue.global().async {
        continuation.resume(returning: Self.runBlocking(script, content, environment, seconds: limit))
      }
    }
    gate.leave()
    return try result.get()
  }

  private static func runBlocking(
    _ script: Nodescript, _ content: [UInt8], _ environment: [String: String], seconds: Int
  ) -> Result<[UInt8], ApplianceError> {
    func failed(_ reason: String) -> Result<[UInt8], ApplianceError> {
      .failure(ApplianceError(.failed, "The nodescript \(script.path), run on the appliance, \(reason)."))
    }
    var variables = environment
    variables["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    let texts = variables.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
    var pointers: [UnsafeMutablePointer<CChar>?] = texts.map { strdup($0) } + [nil]
    defer { for pointer in pointers { free(pointer) } }
    var output: Int32 = -1
    let process = clinux_run_script(content, content.count, &pointers, &output)
    guard process > 0 else { return failed("cannot be started: \(String(cString: strerror(-process)))") }
    defer { close(output) }
    let deadline = milliseconds() + seconds * 1000
    let late = "did not end within \(seconds) seconds (states.scriptSeconds)"
    var printed: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    var trouble: String?
    while trouble == nil {
      let left = deadline - milliseconds()
      guard left > 0 else {
        trouble = late
        break
      }
      var waiting = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
      guard poll(&waiting, 1, Int32(clamping: left)) > 0 else { continue }
      let count = read(output, &buffer, buffer.count)
      if count == 0 { break }
      if count < 0 {
        if errno != EINTR { trouble = "cannot be listened to" }
        continue
      }
      printed += buffer[..<count]
      if printed.count > outputLimit { trouble = "printed more than \(outputLimit) bytes" }
    }
    // It has closed its output, and ends, or is made to.
    var ended = siginfo_t()
    while trouble == nil, waitid(P_PID, id_t(process), &ended, WEXITED | WNOHANG | WNOWAIT) == 0, ended.si_signo == 0 {
      if milliseconds() > deadline { trouble = late } else { usleep(1000) }
    }
    // Its whole session: what it left running in the background must not outlive it.
    kill(-process, SIGKILL)
    if trouble != nil { kill(process, SIGKILL) }
    var status: Int32 = 0
    while waitpid(process, &status, 0) < 0, errno == EINTR {}
    if let trouble { return failed(trouble) }
    let signal = status & 0x7F
    let code = status >> 8 & 0xFF
    if signal != 0 { return failed("was ended by signal \(signal)") }
    if code != 0 { return failed("ended with exit code \(code)") }
    return .success(printed)
  }

  private static func milliseconds() -> Int {
    var clock = timespec()
    clock_gettime(CLOCK_MONOTONIC, &clock)
    return clock.tv_sec * 1000 + clock.tv_nsec / 1_000_000
  }
}
