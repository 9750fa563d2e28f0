import Foundation
import Glibc
import Synchronization

/// A process that keeps running beside the test: a server, a virtual machine.
package final class RunningProcess: Sendable {
  package let command: Command
  /// Its standard output and error together.
  package let log: LineLog
  private let child: Child
  private let pipe: DrainedPipe
  /// The end of its standard input that is written to; -1 where it has none.
  private let input: Int32

  /// Starts it.
  /// - Parameters:
  ///   - file: Where what it says is written too, byte by byte.
  ///   - takesInput: Whether something will be typed; else its standard input is empty.
  package init(_ command: Command, logFile file: String? = nil, takesInput: Bool = false) throws {
    let log = LineLog()
    var copy: Int32 = -1
    if let file {
      copy = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
      guard copy >= 0 else { throw LabError("cannot write \(file): \(String(cString: strerror(errno)))") }
    }
    let copyDescriptor = copy
    let pipe = try DrainedPipe { piece in
      if copyDescriptor >= 0 {
        if let piece {
          _ = piece.withUnsafeBytes { write(copyDescriptor, $0.baseAddress, $0.count) }
        } else {
          close(copyDescriptor)
        }
      }
      log.append(piece)
    }
    defer { close(pipe.writeEnd) }
    let ends = takesInput ? try makePipe() : nil
    defer { if let ends { close(ends.read) } }
    do {
      child = try Child(command, input: ends?.read, output: pipe.writeEnd, errors: pipe.writeEnd)
    } catch {
      if let ends { close(ends.write) }
      throw error
    }
    input = ends?.write ?? -1
    self.command = command
    self.log = log
    self.pipe = pipe
  }

  deinit {
    child.killGroup()
    if input >= 0 { close(input) }
  }

  /// Writes to its standard input, which stays open as long as this value lives.
  package func type(_ text: String) throws {
    let bytes = Array(text.utf8)
    guard write(input, bytes, bytes.count) == bytes.count else {
      throw LabError("cannot write to \(command): \(String(cString: strerror(errno)))")
    }
  }

  package var pid: Int32 { child.pid }

  /// `nil` while it runs.
  package var status: ExitStatus? { child.status }
  package var isRunning: Bool { child.status == nil }

  /// Waits until it has ended.
  /// - Throws: `LabError` where it still runs after `timeout`.
  @discardableResult
  package func exit(within timeout: Duration) async throws -> ExitStatus {
    guard let status = await child.wait(within: timeout) else {
      try Task.checkCancellation()
      throw LabError("\(command) still runs after \(timeout); its last lines:\n\(log.tail())")
    }
    await pipe.finish(within: .seconds(2))
    return status
  }

  /// Sends a signal to the process (not to its children).
  package func signal(_ number: Int32) {
    child.signal(number)
  }

  /// SIGTERM, and SIGKILL for its whole group where `patience` was not enough.
  /// - Returns: How it ended.
  @discardableResult
  package func stop(patience: Duration = .seconds(10)) async -> ExitStatus {
    child.signal(SIGTERM)
    let status = await child.wait(within: patience)
    child.killGroup()
    let end = status == nil ? await child.endOfKilled() : status
    await pipe.finish(within: .seconds(2))
    return end ?? .killed(signal: SIGKILL)
  }

  /// SIGKILL for its whole group, and waits for its end.
  package func kill() async {
    child.signal(SIGKILL, group: true)
    _ = await child.endOfKilled()
    await pipe.finish(within: .seconds(2))
  }
}
