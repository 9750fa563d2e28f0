import CapsuleFormat

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
