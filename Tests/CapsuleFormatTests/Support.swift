import CapsuleFormat
import Foundation

/// A directory that is removed at the end of a test.
final class TemporaryDirectory {
  let path: String

  init() throws {
    var template = Array("/tmp/perseid-test-XXXXXX".utf8CString)
    guard let made = mkdtemp(&template) else { throw CommandFailure(text: "mkdtemp failed") }
    path = String(cString: made)
  }

  deinit {
    try? FileManager.default.removeItem(atPath: path)
  }

  func write(_ bytes: [UInt8], to name: String) throws {
    try Data(bytes).write(to: URL(fileURLWithPath: "\(path)/\(name)"))
  }

  func read(_ name: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: URL(fileURLWithPath: "\(path)/\(name)")))
  }

  /// Runs a shell script here and gives its standard output.
  @discardableResult
  func run(_ script: String) throws -> String {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = ["-euc", script]
    process.currentDirectoryURL = URL(fileURLWithPath: path)
    let output = "\(path)/.output-\(UInt64.random(in: 0...UInt64.max))"
    try Data().write(to: URL(fileURLWithPath: output))
    let file = try FileHandle(forWritingTo: URL(fileURLWithPath: output))
    process.standardOutput = file
    process.standardError = file
    try process.run()
    process.waitUntilExit()
    try file.close()
    let text = String(decoding: try Data(contentsOf: URL(fileURLWithPath: output)), as: UTF8.self)
    try FileManager.default.removeItem(atPath: output)
    guard process.terminationStatus == 0 else {
      throw CommandFailure(text: "\(script)\nended with \(process.terminationStatus):\n\(text)")
    }
    return text
  }
}

struct CommandFailure: Error, CustomStringConvertible {
  var text: String
  var description: String { text }
}

func isInstalled(_ program: String) -> Bool {
  ["/bin", "/usr/bin", "/usr/sbin", "/sbin"].contains {
    FileManager.default.isExecutableFile(atPath: "\($0)/\(program)")
  }
}

let isRoot = geteuid() == 0

/// Remembers all that a reader hands on; holes are filled with zeros.
struct RecordingSink: TarSink {
  var entries: [TarEntry] = []
  var contents: [String: [UInt8]] = [:]
  /// Bytes that were handed on, holes not counted.
  var handedBytes = 0
  private var current: [UInt8] = []

  mutating func entry(_ entry: TarEntry) throws {
    entries.append(entry)
    current = []
  }

  mutating func content(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws {
    current += [UInt8](repeating: 0, count: Int(offset) - current.count)
    current += bytes
    handedBytes += bytes.count
  }

  mutating func endEntry() throws {
    guard let entry = entries.last, case .file = entry.kind else { return }
    current += [UInt8](repeating: 0, count: Int(entry.size) - current.count)
    contents["\(entry.path)"] = current
  }

  func entry(at path: String) -> TarEntry? { entries.first { "\($0.path)" == path } }
}

/// Reads a whole archive in pieces of one size.
func readArchive(_ bytes: [UInt8], pieces: Int = 1 << 20) throws -> RecordingSink {
  var reader = TarReader()
  var sink = RecordingSink()
  for start in stride(from: 0, to: bytes.count, by: pieces) {
    try reader.consume(Array(bytes[start..<min(start + pieces, bytes.count)]), into: &sink)
  }
  try reader.finish()
  return sink
}

/// A canonical archive of some entries with their contents.
func archive(_ entries: [(TarEntry, [UInt8])], withEnd: Bool = true) throws -> [UInt8] {
  var bytes: [UInt8] = []
  for (entry, content) in entries {
    bytes += try TarWriter.header(of: entry) + content
    bytes += [UInt8](repeating: 0, count: TarWriter.padding(after: UInt64(content.count)))
  }
  return withEnd ? bytes + TarWriter.end : bytes
}

func path(_ text: String) throws -> TreePath { try TreePath(parsing: text.utf8) }
