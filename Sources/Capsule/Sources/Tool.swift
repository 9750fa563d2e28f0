import CLinux

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A program of the system that does one step: run to its end within a bound, its last words at hand where it fails, and
/// killed with all that it started where the build is cancelled.
struct Tool {
  let command: [String]
  /// The Debian package it comes in.
  let package: String
  /// What it does, as the beginning of a sentence: "Fetching the image X".
  let purpose: String
  /// Seconds.
  let timeLimit: Int
  /// The program that a failure is said of, where that is not clear from the purpose.
  var program: String?

  init(_ command: [String], package: String, purpose: String, timeLimit: Int) {
    self.command = command
    self.package = package
    self.purpose = purpose
    self.timeLimit = timeLimit
    program = command.first
  }

  private static let tailLength = 12

  /// - Parameters:
  ///   - input: What it reads; nothing where `nil`.
  ///   - line: Is given each line that it writes to either of its outputs.
  /// - Throws: `CapsuleError` with code `tool`, or `CancellationError`.
  func run(input: Int32? = nil, line: (String) -> Void = { _ in }) throws {
    guard let null = FileDescriptor.open("/dev/null", O_RDONLY) else {
      throw CapsuleError.reading("/dev/null", errno: errno)
    }
    var ends: [Int32] = [-1, -1]
    guard clinux_pipe(&ends) == 0 else { throw CapsuleError.reading("a pipe", errno: errno) }
    let output = FileDescriptor(owning: ends[0])
    var process: pid_t = 0
    do {
      let writing = FileDescriptor(owning: ends[1])
      var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) }
      arguments.append(nil)
      defer { for argument in arguments { free(argument) } }
      let failure = clinux_spawn_tool(&process, &arguments, input ?? null.number, writing.number)
      guard failure == 0 else {
        throw CapsuleError(
          .tool,
          "\(purpose) failed: the program '\(command.first ?? "")' cannot be started: "
            + CapsuleError.text(of: failure),
          remedy: "Install the package \(package): apt-get install \(package)")
      }
    }
    var words = Words()
    let status: Int32
    do {
      status = try wait(for: process, output: output, &words, line)
    } catch {
      ProgramEnd.stop(process)
      throw error
    }
    // Whatever it left running has no business any more.
    kill(-process, SIGKILL)
    guard status == 0 else {
      throw failure(
        status & 0x7F == 0 ? "it ended with \(status >> 8 & 0xFF)" : "signal \(status & 0x7F) ended it", words)
    }
  }

  private func wait(
    for process: pid_t, output: borrowing FileDescriptor, _ words: inout Words, _ line: (String) -> Void
  ) throws -> Int32 {
    let deadline = ContinuousClock.now + .seconds(timeLimit)
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 16)
    defer { buffer.deallocate() }
    var isOpen = true
    while true {
      var status: Int32 = 0
      let ended = waitpid(process, &status, WNOHANG) == process
      // What it wrote before its end is there already; what its children write later is not waited for.
      while isOpen {
        var waiting = pollfd(fd: output.number, events: Int16(POLLIN), revents: 0)
        guard poll(&waiting, 1, ended ? 0 : 100) > 0 else { break }
        let count = read(output.number, buffer.baseAddress, buffer.count)
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else {
          isOpen = false
          break
        }
        words.take(UnsafeRawBufferPointer(rebasing: buffer[..<count]), line)
        if !ended { break }
      }
      if ended {
        words.finish(line)
        return status
      }
      try Task.checkCancellation()
      guard ContinuousClock.now < deadline else { throw failure("it took longer than \(timeLimit) seconds", words) }
      if !isOpen { usleep(20_000) }
    }
  }

  private func failure(_ reason: String, _ words: Words) -> CapsuleError {
    let tail = words.tail.isEmpty ? "" : "; its last words:\n  " + words.tail.joined(separator: "\n  ") + "\n"
    let program = program.map { " (\($0))" } ?? ""
    return CapsuleError(
      .tool, "\(purpose) failed\(program): \(reason)\(tail)",
      remedy: "See what it says, and try again")
  }

  /// What a program says, line by line; the last lines are kept.
  private struct Words {
    var tail: [String] = []
    private var partial: [UInt8] = []

    mutating func take(_ bytes: UnsafeRawBufferPointer, _ line: (String) -> Void) {
      for byte in bytes {
        // A bar that is redrawn is as good as a line.
        if byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r") {
          finish(line)
        } else if partial.count < 1000 {
          partial.append(byte)
        }
      }
    }

    mutating func finish(_ line: (String) -> Void) {
      let text = String(decoding: partial.filter { $0 >= 0x20 }, as: UTF8.self)
      partial.removeAll(keepingCapacity: true)
      guard text.contains(where: { !$0.isWhitespace }) else { return }
      tail.append(text)
      if tail.count > Tool.tailLength { tail.removeFirst() }
      line(text)
    }
  }
}
