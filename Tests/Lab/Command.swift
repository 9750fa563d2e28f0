import Foundation
import Glibc
import Synchronization

/// A command to run, and where: `try await Command("tftp", "-V").run()`.
package struct Command: Sendable, CustomStringConvertible {
  /// The program, found by `PATH`, and its arguments.
  package var arguments: [String]
  /// Added to this process's environment.
  package var environment: [String: String]
  /// The working directory; `nil` is this process's own.
  package var directory: String?
  /// The network namespace it runs in; `nil` is this process's own.
  package var namespace: NetworkNamespace?

  package init(
    _ arguments: [String], environment: [String: String] = [:], directory: String? = nil,
    namespace: NetworkNamespace? = nil
  ) {
    self.arguments = arguments
    self.environment = environment
    self.directory = directory
    self.namespace = namespace
  }

  package init(_ arguments: String...) {
    self.init(arguments)
  }

  package var description: String {
    "`\(arguments.joined(separator: " "))`" + (namespace.map { " in namespace \($0.name)" } ?? "")
  }

  /// What is executed. `ip netns exec` and `env` become the program itself, so the process identifier is the program's.
  var words: [String] {
    let program = (directory.map { ["env", "--chdir=\($0)"] } ?? []) + arguments
    return namespace.map { ["ip", "netns", "exec", $0.name] + program } ?? program
  }

  package func `in`(_ namespace: NetworkNamespace?) -> Command {
    var copy = self
    copy.namespace = namespace
    return copy
  }

  /// Runs it to its end, and then ends whatever it left in its process group.
  ///
  /// - Parameters:
  ///   - input: Its standard input; nothing by default.
  ///   - timeout: After this, or when the task is cancelled, its process group is killed.
  ///   - outputLimit: Bytes kept of each output; more than that kills its process group.
  /// - Throws: `LabError` where it cannot be started; how it ends is in the result.
  package func run(
    input: String = "", timeout: Duration = .seconds(60), outputLimit: Int = 4 << 20
  ) async throws -> CommandResult {
    let child = Mutex<Child?>(nil)
    let overflow: @Sendable () -> Void = { child.withLock { $0?.killGroup() } }
    let output = BoundedBuffer(limit: outputLimit, overflow: overflow)
    let errors = BoundedBuffer(limit: outputLimit, overflow: overflow)
    let outputPipe = try DrainedPipe(sink: output.append)
    let errorPipe = try DrainedPipe(sink: errors.append)
    let inputPipe = input.isEmpty ? nil : try makePipe()
    let started: Child
    do {
      defer {
        close(outputPipe.writeEnd)
        close(errorPipe.writeEnd)
        if let inputPipe { close(inputPipe.read) }
      }
      started = try Child(
        self, input: inputPipe?.read, output: outputPipe.writeEnd, errors: errorPipe.writeEnd)
    } catch {
      if let inputPipe { close(inputPipe.write) }
      throw error
    }
    child.withLock { $0 = started }
    if let inputPipe { feed(Array(input.utf8), into: inputPipe.write) }

    var status = await started.wait(within: timeout)
    let timedOut = status == nil
    started.killGroup()
    if status == nil { status = await started.endOfKilled() }
    await outputPipe.finish(within: .seconds(2))
    await errorPipe.finish(within: .seconds(2))
    return CommandResult(
      command: description, status: status ?? .killed(signal: SIGKILL), outputBytes: output.all, errors: errors.text,
      timedOut: timedOut, overflowed: output.isFull || errors.isFull)
  }

  /// Runs it to its end with the calling thread blocked, for what is not asynchronous; what it leaves running stays.
  ///
  /// - Parameters:
  ///   - file: Where both its outputs go; emptied before.
  ///   - timeout: After this its process group is killed.
  /// - Throws: `LabError` where it cannot be started; how it ends is the result.
  package func runHere(outputTo file: String, timeout: Duration) throws -> ExitStatus {
    let output = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard output >= 0 else { throw LabError("cannot write \(file): \(String(cString: strerror(errno)))") }
    defer { close(output) }
    let child = try Child(self, output: output, errors: output)
    if let status = child.waitHere(within: timeout) { return status }
    child.killGroup()
    return child.waitHere(within: .seconds(10)) ?? .killed(signal: SIGKILL)
  }

  private func feed(_ bytes: [UInt8], into descriptor: Int32) {
    Thread.detachNewThread {
      var rest = bytes[...]
      while !rest.isEmpty {
        let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        if count > 0 {
          rest = rest.dropFirst(count)
        } else if count == -1, errno == EINTR {
          continue
        } else {
          break
        }
      }
      close(descriptor)
    }
  }
}

/// What a command left behind.
package struct CommandResult: Sendable {
  package let command: String
  package let status: ExitStatus
  /// Its standard output, byte by byte.
  package let outputBytes: [UInt8]
  package let errors: String
  /// It was killed because its time was over.
  package let timedOut: Bool
  /// It was killed because it said too much.
  package let overflowed: Bool

  package var output: String { String(decoding: outputBytes, as: UTF8.self) }
  package var exitCode: Int32 { status.code }
  package var succeeded: Bool { status == .exited(0) && !timedOut }

  /// - Returns: The same result, where the command succeeded.
  /// - Throws: `LabError` with all it said, where it did not.
  @discardableResult
  package func check() throws -> CommandResult {
    guard succeeded else {
      throw LabError("\(command) ended with \(timedOut ? "its time over" : "\(status)")\n\(output)\(errors)")
    }
    return self
  }
}

extension Child {
  /// Waits for a process that was sent SIGKILL: the kernel ends it as soon as it leaves its system call.
  func endOfKilled() async -> ExitStatus? {
    await wait(within: .seconds(10))
  }
}

/// Bytes up to a limit, gathered by one thread and read by another.
private final class BoundedBuffer: Sendable {
  private let limit: Int
  private let overflow: @Sendable () -> Void
  private let bytes = Mutex<[UInt8]>([])

  init(limit: Int, overflow: @escaping @Sendable () -> Void) {
    self.limit = limit
    self.overflow = overflow
  }

  @Sendable func append(_ piece: ArraySlice<UInt8>?) {
    guard let piece else { return }
    let isOver = bytes.withLock { bytes in
      bytes.append(contentsOf: piece.prefix(limit - bytes.count))
      return bytes.count == limit
    }
    if isOver { overflow() }
  }

  var all: [UInt8] { bytes.withLock { $0 } }
  var text: String { String(decoding: all, as: UTF8.self) }
  var isFull: Bool { bytes.withLock { $0.count == limit } }
}
