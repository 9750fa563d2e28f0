/// A handful of small files in one blob: a tar stream in one zstd frame. A capsule's nodescripts are such a blob, and
/// the tools that configure and keep it.
///
/// The same files give the same bytes: entries sorted by path, owned by root, time 0, their directories before them.
package struct FileBundle: Hashable, Sendable {
  package struct File: Hashable, Sendable {
    package var isExecutable: Bool
    package var content: [UInt8]

    package init(isExecutable: Bool = false, content: [UInt8]) {
      self.isExecutable = isExecutable
      self.content = content
    }
  }

  package var files: [TreePath: File] = [:]

  /// Largest blob, uncompressed stream, and number of entries that are read.
  package static let blobLimit = 16 << 20
  package static let streamLimit = 64 << 20
  package static let entryLimit = 8192

  package init() {}

  /// The blob's bytes.
  package func encoded() throws -> [UInt8] {
    var stream: [UInt8] = []
    var directories: Set<TreePath> = []
    for (path, file) in files.sorted(by: { $0.key < $1.key }) {
      var parents: [TreePath] = []
      var parent = path.parent
      while !parent.isRoot, directories.insert(parent).inserted {
        parents.append(parent)
        parent = parent.parent
      }
      for directory in parents.reversed() {
        stream += try TarWriter.header(of: TarEntry(path: directory, kind: .directory, mode: 0o755))
      }
      let size = UInt64(file.content.count)
      stream += try TarWriter.header(
        of: TarEntry(path: path, kind: .file, mode: file.isExecutable ? 0o755 : 0o644, size: size))
      stream += file.content
      stream += [UInt8](repeating: 0, count: TarWriter.padding(after: size))
    }
    stream += TarWriter.end
    guard stream.count <= Self.streamLimit else {
      throw TarError.tooLarge("all files together", limit: Self.streamLimit)
    }
    return try ZstdCompressor(level: 9).compress(stream)
  }

  /// Reads a blob. What is neither a file nor a directory is refused.
  ///
  /// - Throws: `TarError`, `ZstdError`.
  package init(decoding blob: [UInt8]) throws {
    guard blob.count <= Self.blobLimit else { throw TarError.tooLarge("the blob", limit: Self.blobLimit) }
    var sink = Sink()
    var reader = TarReader()
    var decompressor = try ZstdStreamDecompressor()
    var count = 0
    try blob.withUnsafeBytes { bytes in
      try decompressor.decompress(bytes) { piece in
        count += piece.count
        guard count <= Self.streamLimit else { throw TarError.tooLarge("all files together", limit: Self.streamLimit) }
        try reader.consume(piece, into: &sink)
      }
    }
    guard decompressor.isAtFrameEnd else { throw TarError.truncated(at: UInt64(count)) }
    try reader.finish()
    files = sink.files
  }

  private struct Sink: TarSink {
    var files: [TreePath: File] = [:]
    private var entries = 0
    private var current: TreePath?

    mutating func entry(_ entry: TarEntry) throws {
      entries += 1
      guard entries <= FileBundle.entryLimit else {
        throw TarError.tooLarge("the number of entries", limit: FileBundle.entryLimit)
      }
      current = nil
      switch entry.kind {
      case .directory: return
      case .file:
        guard entry.size <= UInt64(FileBundle.streamLimit) else {
          throw TarError.tooLarge("'\(entry.path)'", limit: FileBundle.streamLimit)
        }
        current = entry.path
        files[entry.path] = File(isExecutable: entry.mode & 0o111 != 0, content: [])
      default: throw TarError.unsafePath("\(entry.path)", reason: "it is neither a file nor a directory")
      }
    }

    mutating func content(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws {
      guard let current, let file = files[current] else { return }
      // A bundle has no holes: what is there follows at once.
      guard offset == UInt64(file.content.count) else { throw TarError.malformed("a sparse file", at: offset) }
      files[current]?.content += bytes
    }

    mutating func endEntry() throws {}
  }
}
