import CapsuleFormat

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The table of contents of an OCI image layout in a plain tar archive: where each blob is, in whatever order
/// they come. Nothing but the headers is read for it.
struct LayoutArchive: ~Copyable {
  let file: FileDescriptor
  let path: String
  private let entries: [String: FileExtent]

  /// More entries than a capsule can have, with some of other images.
  private static let entryLimit = 1024

  /// - Returns: `nil` where the file is something else: no file, no tar archive, or with entries that no layout has.
  /// - Throws: `CapsuleError` where it is one, and damaged.
  static func open(_ path: String) throws -> LayoutArchive? {
    guard let file = FileDescriptor.open(path, O_RDONLY | O_NONBLOCK) else {
      throw CapsuleError.reading(path, errno: errno)
    }
    var status = stat()
    guard fstat(file.number, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
    var reader = TarReader()
    var sink = Contents(limit: entryLimit)
    do {
      try readHeaders(file, length: UInt64(clamping: status.st_size), &reader, &sink)
    } catch is Foreign {
      return nil
    } catch let error as TarError {
      // What breaks before a single name of a layout was seen is another kind of file.
      guard sink.isLayout else { return nil }
      throw damaged(path, error.description)
    }
    guard sink.entries[ImageLayout.marker] != nil, sink.entries[ImageLayout.index] != nil else {
      guard sink.isLayout else { return nil }
      throw damaged(path, "it has no \(ImageLayout.marker) or no \(ImageLayout.index)")
    }
    return LayoutArchive(file: file, path: path, entries: sink.entries)
  }

  private static func readHeaders(
    _ file: borrowing FileDescriptor, length: UInt64, _ reader: inout TarReader, _ sink: inout Contents
  ) throws {
    var block = [UInt8](repeating: 0, count: 512)
    while !reader.isAtEnd {
      let position = reader.position
      // A size beyond the file's end is seen here, before anything of that size is read or written.
      guard position < length, let count = block.withUnsafeMutableBytes({ file.fill($0, at: Int64(position)) }),
        count == block.count
      else {
        try reader.finish()
        return
      }
      try reader.consume(block, into: &sink)
      let start = reader.position
      sink.position = Int64(start)
      let skipped = try reader.skipContent(into: &sink)
      // Start is at most the length: a whole block was read before it.
      guard skipped <= length - start else { throw TarError.truncated(at: length) }
      guard skipped == 0 || skipped == sink.storedSize else {
        throw TarError.malformed("a file with holes", at: start)
      }
    }
  }

  /// Where an entry's content is.
  func extent(_ name: String) -> FileExtent? { entries[name] }

  /// The whole of a small entry; `nil` where there is none.
  func read(_ name: String, limit: Int) throws -> [UInt8]? {
    guard let extent = entries[name] else { return nil }
    guard extent.length <= limit else {
      throw Self.damaged(path, "its \(name) has \(extent.length) bytes, where at most \(limit) make sense")
    }
    var bytes: [UInt8] = []
    _ = try extent.pieces(of: file, path: path) { bytes += $0 }
    return bytes
  }

  static func damaged(_ path: String, _ reason: String) -> CapsuleError {
    CapsuleError(
      .badArchive, "\(path) is damaged or no capsule: \(reason)",
      remedy: "Copy or export the capsule again, and import that")
  }

  /// An entry that no layout has.
  private struct Foreign: Error {}

  private struct Contents: TarSink {
    let limit: Int
    var entries: [String: FileExtent] = [:]
    var isLayout = false
    /// Behind the header that was read last.
    var position: Int64 = 0
    private var current: (name: String, size: Int64)?

    /// Bytes that the current entry's content takes in the archive, padding included.
    var storedSize: UInt64 {
      let size = UInt64(current?.size ?? 0)
      return size + UInt64(TarWriter.padding(after: size))
    }

    init(limit: Int) {
      self.limit = limit
    }

    mutating func entry(_ entry: TarEntry) throws {
      current = nil
      let name = entry.path.description
      let isKnown = [ImageLayout.marker, ImageLayout.index, "blobs", "blobs/sha256", "", "."].contains(name)
      // What docker and skopeo put into their archives besides.
      let isHarmless = ["manifest.json", "repositories"].contains(name) || name.hasPrefix("blobs/")
      guard isKnown || isHarmless else { throw Foreign() }
      if name == ImageLayout.marker || ImageLayout.digest(path: name) != nil { isLayout = true }
      guard entries.count < limit else { throw TarError.tooLarge("the number of entries", limit: limit) }
      guard case .file = entry.kind else {
        guard case .directory = entry.kind else { throw Foreign() }
        return
      }
      current = (name, Int64(clamping: entry.size))
    }

    mutating func content(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws {}

    mutating func endEntry() throws {
      guard let current else { return }
      // Of several entries of one name the last one counts, as for tar.
      entries[current.name] = FileExtent(offset: position, length: current.size)
    }
  }
}
