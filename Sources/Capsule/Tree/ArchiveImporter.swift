import CapsuleFormat

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Reads a tar archive into a tree. Nothing of it is unpacked: entries stay data, and the contents go one
/// behind the other into a file without a name. So root is not needed, and a hostile archive has nothing to write to.
struct ArchiveImporter {
  /// How an archive is compressed, by its first bytes.
  enum Compression {
    case none
    case zstd
    /// Decompressed by a program that reads standard input.
    case program([String])

    init(_ start: [UInt8]) {
      if start.starts(with: [0x1F, 0x8B]) {
        self = .program(["gzip", "-dc"])
      } else if start.starts(with: [0xFD, 0x37, 0x7A, 0x58, 0x5A, 0x00]) {
        self = .program(["xz", "-dc"])
      } else if start.starts(with: "BZh".utf8) {
        self = .program(["bzip2", "-dc"])
      } else if start.starts(with: [0x28, 0xB5, 0x2F, 0xFD]) {
        self = .zstd
      } else {
        self = .none
      }
    }
  }

  static func read(
    _ path: String, temporaryDirectory: String, limits: SourceLimits, progress: @escaping ProgressHandler
  ) throws -> FileTree {
    guard let file = FileDescriptor.open(path, O_RDONLY) else { throw CapsuleError.reading(path, errno: errno) }
    var status = stat()
    guard fstat(file.number, &status) == 0 else { throw CapsuleError.reading(path, errno: errno) }
    let total = Int64(status.st_size)
    let source = try TreeSource(archive: path, temporaryDirectory: temporaryDirectory)
    var sink = TreeSink(
      spool: Spool(source: source, temporaryDirectory: temporaryDirectory, limits: limits, packed: total),
      entryLimit: limits.entries)
    var reader = TarReader(keepsACLText: true)
    do {
      try decompress(file, path: path) { piece in
        try reader.consume(piece, into: &sink)
        report(file, total, progress)
      }
      try reader.finish()
      return try ACLText.translated(sink.builder.finish(source: source))
    } catch let error as TarError {
      throw damaged(path, error.description, atStart: reader.entryCount == 0)
    } catch let error as ZstdError {
      throw damaged(path, error.description, atStart: false)
    }
  }

  /// Hands on what a file holds, decompressed, from its beginning.
  ///
  /// - Parameter path: For messages.
  /// - Throws: `CapsuleError`, `ZstdError`, `TarError.truncated`, and what `body` throws.
  static func decompress(
    _ file: borrowing FileDescriptor, path: String, _ body: (UnsafeRawBufferPointer) throws -> Void
  ) throws {
    var start = [UInt8](repeating: 0, count: 8)
    guard let count = start.withUnsafeMutableBytes({ file.fill($0, at: 0) }) else {
      throw CapsuleError.reading(path, errno: errno)
    }
    guard count == start.count else {
      throw CapsuleError(
        .badArchive, "\(path) is too short to be a tar archive (\(count) bytes)",
        remedy: "Copy the archive again, and import that")
    }
    switch Compression(start) {
    case .none: try pump(file, path: path, body)
    case .zstd:
      var decompressor = try ZstdStreamDecompressor()
      var position: UInt64 = 0
      try pump(file, path: path) { piece in
        position += UInt64(piece.count)
        try decompressor.decompress(piece, body)
      }
      guard decompressor.isAtFrameEnd else { throw TarError.truncated(at: position) }
    case .program(let command):
      // The program shares the file's position, so its progress can be seen from here.
      let filter = try Filter(command, input: file.number)
      try pump(filter.output, path: path, body)
      try filter.finish(reading: path)
    }
  }

  static func damaged(_ path: String, _ reason: String, atStart: Bool) -> CapsuleError {
    atStart
      ? CapsuleError(
        .badArchive, "\(path) cannot be read as a tar archive: \(reason)",
        remedy: "Import a directory, or a tar archive (plain, gz, xz, bz2 or zst)")
      : CapsuleError(
        .badArchive, "\(path) is damaged or not fit for a capsule: \(reason)",
        remedy: "Make or copy the archive again, and import that")
  }

  /// Hands on a file in pieces until it ends.
  static func pump(
    _ file: borrowing FileDescriptor, path: String, _ body: (UnsafeRawBufferPointer) throws -> Void
  ) throws {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
    defer { buffer.deallocate() }
    while true {
      try Task.checkCancellation()
      guard let count = file.fill(buffer) else { throw CapsuleError.reading(path, errno: errno) }
      if count == 0 { return }
      try body(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
    }
  }

  private static func report(_ file: borrowing FileDescriptor, _ total: Int64, _ progress: ProgressHandler) {
    let position = Int64(lseek(file.number, 0, SEEK_CUR))
    progress(BuildProgress(phase: .reading, completedBytes: position, totalBytes: total))
  }
}

/// Takes the entries of an archive into a tree, and their contents into the spool.
private struct TreeSink: TarSink {
  var spool: Spool
  var builder: TreeBuilder

  init(spool: Spool, entryLimit: Int) {
    self.spool = spool
    builder = TreeBuilder(entryLimit: entryLimit)
  }

  mutating func entry(_ entry: TarEntry) throws {
    switch entry.kind {
    case .hardLink(let target): try builder.addLink(entry.path, to: target)
    case .file: try builder.add(entry, content: try spool.begin(size: entry.size))
    default: try builder.add(entry, content: .none)
    }
  }

  mutating func content(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws {
    try spool.write(bytes, at: offset)
  }

  mutating func endEntry() throws { try spool.finish() }
}
