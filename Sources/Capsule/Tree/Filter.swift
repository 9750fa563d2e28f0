import CLinux

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A program that reads a file and writes a pipe. Let go of before its end, it is killed.
final class Filter {
  let output: FileDescriptor
  private let name: String
  private var process: pid_t = 0

  /// - Throws: `CapsuleError` with code `tool` where the program cannot be started.
  init(_ command: [String], input: Int32) throws(CapsuleError) {
    name = command.first ?? ""
    var pipes: [Int32] = [-1, -1]
    guard clinux_pipe(&pipes) == 0 else { throw .reading("a pipe", errno: errno) }
    output = FileDescriptor(owning: pipes[0])
    let writing = FileDescriptor(owning: pipes[1])
    process = try Self.spawn(command, input: input, output: writing.number)
  }

  deinit {
    guard process > 0 else { return }
    kill(process, SIGKILL)
    var status: Int32 = 0
    waitpid(process, &status, 0)
  }

  /// Waits for the end, which comes once the whole output has been read.
  ///
  /// - Returns: The status as wait(2) has it: 0 for success.
  func waitForEnd() -> Int32 {
    var status: Int32 = 0
    while waitpid(process, &status, 0) < 0 && errno == EINTR {}
    process = 0
    return status
  }

  /// Waits for the end of a program that decompresses.
  func finish(reading path: String) throws(CapsuleError) {
    guard waitForEnd() == 0 else {
      throw CapsuleError(
        .badArchive, "\(path) is damaged: \(name) could not decompress it",
        remedy: "Make or copy the archive again, and import that")
    }
  }

  /// Runs a command to its end, or this process's, with nothing to read; its output goes to standard error.
  static func run(_ command: [String]) throws(CapsuleError) {
    guard let null = FileDescriptor.open("/dev/null", O_RDWR) else { throw .reading("/dev/null", errno: errno) }
    let process = try spawn(ProgramEnd.withThisProcess + command, input: null.number, output: 2)
    var status: Int32 = 0
    while waitpid(process, &status, 0) < 0 && errno == EINTR {}
    guard status == 0 else {
      throw CapsuleError(
        .tool, "'\(command.prefix(4).joined(separator: " "))' failed", remedy: "See its message above")
    }
  }

  private static func spawn(_ command: [String], input: Int32, output: Int32) throws(CapsuleError) -> pid_t {
    var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) }
    arguments.append(nil)
    defer { for argument in arguments { free(argument) } }
    var process: pid_t = 0
    let failure = clinux_spawn_filter(&process, &arguments, input, output)
    guard failure == 0 else {
      throw CapsuleError(
        .tool, "The program '\(command.first ?? "")' cannot be started: \(CapsuleError.text(of: failure))",
        remedy: "Install the package that contains it")
    }
    return process
  }
}
