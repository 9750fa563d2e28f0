import CapsuleFormat

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A `.capsule` file: an OCI image layout in a tar archive.
package enum CapsuleArchive {}

extension CapsuleArchive {
  /// Writes a capsule into a file; the same capsule always gives the same bytes. Every blob is checked on the way.
  ///
  /// The file gets its name when it is whole and on the disk; a file of that name is replaced then. An export that
  /// fails or is cancelled leaves nothing.
  ///
  /// - Parameter annotations: Put beside the manifest's digest in the file's index, outside of what the digest covers.
  /// - Returns: The file's size in bytes.
  /// - Throws: `CapsuleError`, or `CancellationError`.
  package static func export(
    _ capsule: StoredCapsule, from store: ContentStore, to path: String, annotations: [String: String]? = nil,
    progress: @escaping ProgressHandler = { _ in }
  ) throws -> Int64 {
    let named = status(of: path)
    if let mode = named?.st_mode, mode & S_IFMT == S_IFDIR {
      throw CapsuleError(
        .storage, "Writing the capsule to \(path) failed: it is a directory", remedy: "Name a file in it")
    }
    // A pipe or a device is written as it is; renaming would put a file in its place.
    let isFile = named.map { $0.st_mode & S_IFMT == S_IFREG } ?? true
    let temporary = isFile ? "\(path).partial-\(getpid())" : path
    guard
      let file = FileDescriptor.open(temporary, isFile ? O_WRONLY | O_CREAT | O_EXCL : O_WRONLY, mode: 0o644)
    else { throw CapsuleError.writing(temporary, errno: errno) }
    do {
      var writer = ArchiveWriter(file: file, path: path, progress: progress)
      try writer.write(capsule, from: store, annotations: annotations)
      let size = writer.written
      guard isFile else { return size }
      guard fsync(writer.file.number) == 0, rename(temporary, path) == 0 else {
        throw CapsuleError.writing(path, errno: errno)
      }
      return size
    } catch {
      if isFile { unlink(temporary) }
      throw error
    }
  }

  private static func status(of path: String) -> stat? {
    var status = stat()
    return stat(path, &status) == 0 ? status : nil
  }
}

/// Writes the entries of an archive, each with root's ownership, mode 0644 and time 0.
private struct ArchiveWriter: ~Copyable {
  let file: FileDescriptor
  private let path: String
  private let progress: ProgressHandler
  private(set) var written: Int64 = 0
  private var total: Int64 = 0

  init(file: consuming FileDescriptor, path: String, progress: @escaping ProgressHandler) {
    self.file = file
    self.path = path
    self.progress = progress
  }

  mutating func write(_ capsule: StoredCapsule, from store: ContentStore, annotations: [String: String]?) throws {
    let manifest = Descriptor(
      mediaType: MediaType.manifest, digest: capsule.digest, size: try store.size(of: capsule.digest),
      annotations: annotations)
    var blobs: [Descriptor] = []
    for blob in [manifest, capsule.manifest.config] + capsule.manifest.layers
    where !blobs.contains(where: { $0.digest == blob.digest }) {
      blobs.append(blob)
    }
    total = blobs.reduce(0) { $0 + $1.size }
    try add(ImageLayout.marker, Array(ImageLayout.markerContent.utf8))
    try add(ImageLayout.index, try canonicalJSON(ImageLayout.Index(manifests: [manifest])))
    try addDirectory("blobs")
    try addDirectory("blobs/sha256")
    for blob in blobs { try add(blob, from: store) }
    try write(TarWriter.end)
  }

  private func entry(_ name: String, _ kind: TarEntry.Kind, mode: UInt32, size: Int64) -> TarEntry {
    guard let path = TreePath(name) else { preconditionFailure("the names in a layout are plain") }
    return TarEntry(path: path, kind: kind, mode: mode, size: UInt64(size))
  }

  private mutating func addDirectory(_ name: String) throws {
    try write(try TarWriter.header(of: entry(name, .directory, mode: 0o755, size: 0)))
  }

  private mutating func add(_ name: String, _ content: [UInt8]) throws {
    try write(try TarWriter.header(of: entry(name, .file, mode: 0o644, size: Int64(content.count))))
    try write(content)
    try pad(after: Int64(content.count))
  }

  private mutating func add(_ blob: Descriptor, from store: ContentStore) throws {
    try write(
      try TarWriter.header(of: entry(ImageLayout.path(of: blob.digest), .file, mode: 0o644, size: blob.size)))
    let source = store.path(of: blob.digest)
    guard let input = FileDescriptor.open(source, O_RDONLY) else { throw CapsuleError.reading(source, errno: errno) }
    let extent = FileExtent(offset: 0, length: blob.size)
    let digest = try extent.pieces(of: input, path: source) { piece in
      try Task.checkCancellation()
      try write(piece)
      progress(BuildProgress(phase: .copying, completedBytes: min(written, total), totalBytes: total))
    }
    guard digest == blob.digest else {
      throw CapsuleError(
        .damagedBlob, "The content of \(source) is not what its digest says",
        remedy: "Check the disk; then delete that file and import the capsule again")
    }
    try pad(after: blob.size)
  }

  private mutating func pad(after size: Int64) throws {
    try write([UInt8](repeating: 0, count: TarWriter.padding(after: UInt64(size))))
  }

  private mutating func write(_ bytes: [UInt8]) throws {
    var failure: (any Error)?
    bytes.withUnsafeBytes { piece in
      do { try write(piece) } catch { failure = error }
    }
    if let failure { throw failure }
  }

  private mutating func write(_ bytes: UnsafeRawBufferPointer) throws(CapsuleError) {
    guard file.writeAll(bytes) else { throw .writing(path, errno: errno) }
    written += Int64(bytes.count)
  }
}
