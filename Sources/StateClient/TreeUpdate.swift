import CapsuleFormat
import Glibc

/// Brings a tree that is in use to another generation: a tar stream, compressed with zstd, of what is new or different
/// there, and of what is gone as a layer of a container image says it, empty files named `.wh.NAME`.
///
/// Done again, after half of it or all of it, it comes to the same.
package struct TreeUpdate {
  package struct Result: Hashable, Sendable {
    package var written = 0
    package var removed = 0
    /// Where something is mounted: left as it is, with all below.
    package var mounted: [String] = []
  }

  private let root: String

  package init(root: String) {
    self.root = root
  }

  /// - Parameter path: The stream, whole and verified.
  /// - Throws: `SystemError`, `TarError`, `ZstdError`.
  package func apply(_ path: String) throws -> Result {
    let file = try OpenFile(path, flags: O_RDONLY | O_NOFOLLOW)
    var decompressor = try ZstdStreamDecompressor()
    var reader = TarReader()
    var sink = Sink(writer: try TreeWriter(root, isLive: true))
    var piece = [UInt8](repeating: 0, count: 128 << 10)
    while true {
      let count = try check("read \(path)") { Glibc.read(file.descriptor, &piece, piece.count) }
      if count == 0 { break }
      try piece.withUnsafeBytes { bytes in
        try decompressor.decompress(UnsafeRawBufferPointer(rebasing: bytes[..<count])) {
          try reader.consume($0, into: &sink)
        }
      }
    }
    try reader.finish()
    // What is inside a directory goes before it does.
    var removed = 0
    for gone in sink.gone.reversed() {
      do {
        try sink.writer.remove(gone)
        removed += 1
      } catch let mounted as TreeWriter.Mounted {
        sink.mounted.insert(mounted.path)
      }
    }
    try sink.writer.finish()
    return Result(written: sink.written, removed: removed, mounted: sink.mounted.sorted())
  }

  private struct Sink: TarSink {
    let writer: TreeWriter
    var gone: [TreePath] = []
    var written = 0
    var mounted: Set<String> = []
    private var isPassedOver = false

    init(writer: TreeWriter) {
      self.writer = writer
    }

    mutating func entry(_ entry: TarEntry) throws {
      let isGone = entry.kind == .file && entry.path.name.starts(with: Whiteout.prefix)
      if isGone {
        gone.append(try entry.path.parent.appending(name: entry.path.name.dropFirst(Whiteout.prefix.count)))
        isPassedOver = true
      } else {
        isPassedOver = try !isDone { [writer] in try writer.entry(entry) }
        if !isPassedOver { written += 1 }
      }
    }

    /// - Returns: Whether nothing is mounted there.
    private mutating func isDone(_ body: () throws -> Void) throws -> Bool {
      do {
        try body()
        return true
      } catch let error as TreeWriter.Mounted {
        mounted.insert(error.path)
        return false
      }
    }

    mutating func content(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws {
      if !isPassedOver { try writer.content(bytes, at: offset) }
    }

    mutating func endEntry() throws {
      if try !isPassedOver && !isDone({ [writer] in try writer.endEntry() }) { written -= 1 }
    }
  }
}
