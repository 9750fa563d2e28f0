import CapsuleFormat

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What an import takes at most, against archives that are made to fill a disk.
package struct SourceLimits: Hashable, Sendable {
  /// Bytes of all files together, holes included.
  package var bytes: Int64 = 256 << 30
  /// How many times its own size a compressed archive may unpack to, once that is over a GiB; `nil` for any.
  package var expansion: Int64? = 200
  package var entries = 4_000_000

  package init() {}

  /// - Parameters:
  ///   - unpacked: Bytes of all files so far.
  ///   - packed: Bytes of the whole archive.
  func check(unpacked: Int64, packed: Int64, of source: String) throws(CapsuleError) {
    if unpacked > bytes {
      throw CapsuleError(
        .badArchive, "\(source) unpacks to more than the \(bytes) bytes that are allowed",
        remedy: "If it is meant to be so large, import it with a larger --size-limit")
    }
    if let expansion, unpacked > 1 << 30, unpacked / expansion > packed {
      throw CapsuleError(
        .badArchive, "\(source) has \(packed) bytes, and unpacks to more than \(expansion) times as many",
        remedy: "If it is meant to, import it with --size-limit, which says how large it may become")
    }
  }
}

/// Takes contents of files into the spool of a source, one behind the other.
struct Spool {
  let source: TreeSource
  private let temporaryDirectory: String
  private let limits: SourceLimits
  /// Bytes of the archive the contents come from.
  private let packed: Int64
  /// Where the current file's content begins, and where the next one's will.
  private(set) var start: Int64 = 0
  private var end: Int64 = 0

  /// - Parameter after: Bytes that are in the spool already.
  init(source: TreeSource, temporaryDirectory: String, limits: SourceLimits, packed: Int64, after: Int64 = 0) {
    end = after
    self.source = source
    self.temporaryDirectory = temporaryDirectory
    self.limits = limits
    self.packed = packed
  }

  /// Begins the content of a file.
  mutating func begin(size: UInt64) throws -> FileTree.Content {
    start = end
    let (next, overflow) = start.addingReportingOverflow(Int64(clamping: size))
    guard !overflow else { throw TarError.tooLarge("the content of all files", limit: Int.max) }
    end = next
    try limits.check(unpacked: end, packed: packed, of: source.name)
    return .spool(start)
  }

  func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(CapsuleError) {
    var position = start + Int64(offset)
    var rest = bytes
    while !rest.isEmpty {
      let count = pwrite(source.spool, rest.baseAddress, rest.count, off_t(position))
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { throw .writing(temporaryDirectory, errno: errno) }
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
      position += Int64(count)
    }
  }

  /// Ends the content of a file: a hole at its end has to be there to be read.
  func finish() throws(CapsuleError) {
    var status = stat()
    guard fstat(source.spool, &status) == 0 else { return }
    if Int64(status.st_size) < end, ftruncate(source.spool, off_t(end)) != 0 {
      throw .writing(temporaryDirectory, errno: errno)
    }
  }

  /// Takes a whole file at once.
  mutating func add(_ bytes: [UInt8]) throws -> FileTree.Content {
    let content = try begin(size: UInt64(bytes.count))
    try bytes.withUnsafeBytes { try write($0, at: 0) }
    return content
  }
}
