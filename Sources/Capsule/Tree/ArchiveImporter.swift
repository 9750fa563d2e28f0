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
    _ path: String, temporaryDirectory: String, progress: @escaping ProgressHandler
  ) throws -> FileTree {
    guard let file = FileDescriptor.open(path, O_RDONLY) else { throw CapsuleError.reading(path, errno: errno) }
    var status = stat()
    guard fstat(file.number, &status) == 0 else { throw CapsuleError.reading(path, errno: errno) }
    let total = Int64(status.st_size)
    var start = [UInt8](repeating: 0, count: 8)
    guard let count = start.withUnsafeMutableBytes({ file.fill($0, at: 0) }) else {
      throw CapsuleError.reading(path, errno: errno)
    }
    guard count == start.count else {
      throw CapsuleError(
        .badArchive, "\(path) is too short to be a tar archive (\(total) bytes)",
        remedy: "Copy the archive again, and import that")
    }

    let source = try TreeSource(archive: path, temporaryDirectory: temporaryDirectory)
    var sink = TreeSink(source: source, temporaryDirectory: temporaryDirectory)
    var reader = TarReader()
    do {
      switch Compression(start) {
      case .none:
        try pump(file, path: path) { piece in
          try reader.consume(piece, into: &sink)
          report(file, total, progress)
        }
      case .zstd:
        var decompressor = try ZstdStreamDecompressor()
        try pump(file, path: path) { piece in
          try decompressor.decompress(piece) { try reader.consume($0, into: &sink) }
          report(file, total, progress)
        }
        guard decompressor.isAtFrameEnd else { throw TarError.truncated(at: UInt64(clamping: total)) }
      case .program(let command):
        // The program shares the file's position, so its progress can be seen from here.
        let filter = try Filter(command, input: file.number)
        try pump(filter.output, path: path) { piece in
          try reader.consume(piece, into: &sink)
          report(file, total, progress)
        }
        try filter.finish(reading: path)
      }
      try reader.finish()
      return sink.builder.finish(source: source)
    } catch let error as TarError {
      throw damaged(path, error.description, atStart: reader.entryCount == 0)
    } catch let error as ZstdError {
      throw damaged(path, error.description, atStart: false)
    }
  }

  private static func damaged(_ path: String, _ reason: String, atStart: Bool) -> CapsuleError {
    atStart
      ? CapsuleError(
        .badArchive, "\(path) cannot be read as a tar archive: \(reason)",
        remedy: "Import a directory, or a tar archive (plain, gz, xz, bz2 or zst)")
      : CapsuleError(
        .badArchive, "\(path) is damaged or not fit for a capsule: \(reason)",
        remedy: "Make or copy the archive again, and import that")
  }

  /// Hands on a file in pieces until it ends.
  private static func pump(
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
  let source: TreeSource
  let temporaryDirectory: String
  var builder = TreeBuilder()
  /// Where the current file's content begins in the spool, and where the next one's will.
  private var start: Int64 = 0
  private var end: Int64 = 0

  init(source: TreeSource, temporaryDirectory: String) {
    self.source = source
    self.temporaryDirectory = temporaryDirectory
  }

  mutating func entry(_ entry: TarEntry) throws {
    if case .hardLink(let target) = entry.kind {
      try builder.addLink(entry.path, to: target)
      return
    }
    guard case .file = entry.kind else {
      try builder.add(entry, content: .none)
      return
    }
    start = end
    let (next, overflow) = start.addingReportingOverflow(Int64(clamping: entry.size))
    guard !overflow else { throw TarError.tooLarge("the content of all files", limit: Int.max) }
    end = next
    try builder.add(entry, content: .spool(start))
  }

  mutating func content(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws {
    var position = start + Int64(offset)
    var rest = bytes
    while !rest.isEmpty {
      let count = pwrite(source.spool, rest.baseAddress, rest.count, off_t(position))
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { throw CapsuleError.writing(temporaryDirectory, errno: errno) }
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
      position += Int64(count)
    }
  }

  mutating func endEntry() throws {
    // A hole at the very end has to be there to be read.
    var status = stat()
    guard fstat(source.spool, &status) == 0 else { return }
    if Int64(status.st_size) < end, ftruncate(source.spool, off_t(end)) != 0 {
      throw CapsuleError.writing(temporaryDirectory, errno: errno)
    }
  }
}
