package import CapsuleFormat

import struct Crypto.SHA256

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What checking a stored capsule found.
package struct Verification: Hashable, Sendable {
  package var blobs = 0
  package var frames = 0
  /// Entries of the root file system.
  package var entries = 0
  /// Of all blobs.
  package var bytes: Int64 = 0
  /// Whether the root file system was unpacked, and looked at on the disk.
  package var isUnpacked = false
  /// What is not as it should be: sentences without their full stops. Empty where all is well.
  package var problems: [String] = []

  /// More are not listed.
  static let problemLimit = 100

  /// Reads every byte of a capsule and compares it with the digests, sizes and counts that were recorded.
  ///
  /// - Parameters:
  ///   - unpacks: Whether to unpack the root file system with the system's tar too, and to compare what is then on
  ///     the disk (owners, modes, times, extended attributes, device nodes, contents) with what was recorded. Takes
  ///     root, and room for the tree in the store's file system.
  /// - Throws: `CapsuleError` where the disk or a program failed, so that nothing can be said; `CancellationError`.
  package static func of(
    _ digest: Digest, in store: ContentStore, unpacks: Bool, progress: @escaping ProgressHandler = { _ in }
  ) async throws -> Verification {
    try await withTaskExecutorPreference(BuildExecutor()) {
      var verification = Verification()
      try verification.check(digest, store, unpacks: unpacks, progress: progress)
      return verification
    }
  }

  private mutating func found(_ problem: String) {
    if problems.count < Self.problemLimit { problems.append(problem) }
    if problems.count == Self.problemLimit { problems.append("and more, which are not listed") }
  }

  private mutating func check(
    _ digest: Digest, _ store: ContentStore, unpacks: Bool, progress: ProgressHandler
  ) throws {
    let manifest: CapsuleManifest
    do {
      manifest = try StoredCapsule.manifest(digest, in: store)
    } catch {
      return found("the manifest: \(error.problem)")
    }
    blobs = 1
    let total = manifest.layers.reduce(manifest.config.size) { $0 &+ $1.size }
    for descriptor in [manifest.config] + manifest.layers {
      try check(descriptor, store)
      progress(BuildProgress(phase: .checking, completedBytes: bytes, totalBytes: total))
    }
    guard problems.isEmpty else {
      // Which frames are hurt is worth knowing, where that can be told.
      if let capsule = try? StoredCapsule.load(digest, from: store) { _ = try? checkFrames(capsule, store, progress) }
      return
    }
    let capsule = try StoredCapsule.load(digest, from: store)
    let recorded = try checkFrames(capsule, store, progress)
    guard problems.isEmpty, unpacks else { return }
    try unpack(capsule, recorded, store, progress)
  }

  private mutating func check(_ descriptor: Descriptor, _ store: ContentStore) throws {
    let path = store.path(of: descriptor.digest)
    blobs += 1
    guard let file = FileDescriptor.open(path, O_RDONLY) else {
      guard errno == ENOENT else { throw CapsuleError.reading(path, errno: errno) }
      return found("the blob \(descriptor.digest) (\(descriptor.mediaType)) is missing")
    }
    var hash = SHA256()
    var size: Int64 = 0
    var buffer = [UInt8](repeating: 0, count: 1 << 20)
    while true {
      try Task.checkCancellation()
      guard let count = buffer.withUnsafeMutableBytes({ file.fill($0) }) else {
        return found("the blob \(descriptor.digest) cannot be read: \(CapsuleError.text(of: errno))")
      }
      if count == 0 { break }
      buffer.withUnsafeBytes { hash.update(bufferPointer: UnsafeRawBufferPointer(rebasing: $0[..<count])) }
      size += Int64(count)
    }
    bytes += size
    if size != descriptor.size {
      found("the blob \(descriptor.digest) (\(descriptor.mediaType)) has \(size) bytes instead of \(descriptor.size)")
    } else if Digest(bytes: Array(hash.finalize())) != descriptor.digest {
      found("the content of the blob \(descriptor.digest) (\(descriptor.mediaType)) is not what its digest says")
    }
  }

  /// - Returns: The entries that were recorded.
  @discardableResult
  private mutating func checkFrames(
    _ capsule: StoredCapsule, _ store: ContentStore, _ progress: ProgressHandler
  ) throws -> [TarEntry] {
    frames = try capsule.frames(from: store).frames.count
    var reader = TarReader()
    var sink = EntryGatherer(NoObserver())
    var count: Int64 = 0
    let total = capsule.config.rootBytes
    do {
      let bad = try RootStream(capsule: capsule, store: store).read {
        progress(BuildProgress(phase: .checking, completedBytes: $0, totalBytes: total))
      } _: { piece in
        count += Int64(piece.count)
        try reader.consume(piece, into: &sink)
      }
      for frame in bad { found("frame \(frame.number) of the root file system: \(frame.reason)") }
      guard bad.isEmpty else { return [] }
    } catch let error as TarError {
      found("the root file system is no tar stream: \(error)")
      return []
    }
    entries = sink.entries.count
    if !reader.isAtEnd { found("the root file system's tar stream has no end") }
    if count != total { found("the tar stream has \(count) bytes instead of \(total)") }
    if Int64(entries) != capsule.config.rootEntries {
      found("the tar stream has \(entries) entries instead of \(capsule.config.rootEntries)")
    }
    return sink.entries
  }

  private mutating func unpack(
    _ capsule: StoredCapsule, _ recorded: [TarEntry], _ store: ContentStore, _ progress: ProgressHandler
  ) throws {
    progress(BuildProgress(phase: .unpacking, completedBytes: 0, totalBytes: nil))
    let scratch = try ScratchDirectory(in: store.temporaryDirectory)
    let directory = scratch.path + "/root"
    try Unpacker.unpack(capsule, from: store, into: directory)
    let tree = try DirectoryScanner.scan(directory) { _ in }
    isUnpacked = true
    let onDisk = Dictionary(tree.items.map { ($0.entry.path, $0.entry) }, uniquingKeysWith: { first, _ in first })
    var before = problems.count
    for entry in recorded {
      guard let there = onDisk[entry.path] else {
        found("'\(entry.path)' is not there when the root file system is unpacked")
        continue
      }
      let differences = entry.differences(to: there)
      if !differences.isEmpty {
        found("'\(entry.path)', unpacked, differs from what was recorded in its \(differences.joined(separator: ", "))")
      }
    }
    if recorded.count != onDisk.count, problems.count == before {
      found("unpacked, the root file system has \(onDisk.count) entries instead of \(recorded.count)")
    }
    guard problems.count == before else { return }
    // All entries are the same, so the streams have the same boundaries; now the contents.
    before = problems.count
    var stream = try TarStream(tree, StreamPlan(tree, settled: 0))
    for (number, frame) in try capsule.frames(from: store).frames.enumerated() {
      try Task.checkCancellation()
      var piece = [UInt8](repeating: 0, count: Int(frame.uncompressedLength))
      let count = try piece.withUnsafeMutableBytes { try stream.fill($0) }
      guard count == piece.count, Digest(of: piece) == frame.uncompressedDigest else {
        return found("the files unpacked from frame \(number) have other contents than were recorded")
      }
    }
  }
}

extension TarEntry {
  /// In what two entries of the same path differ, in words.
  func differences(to other: TarEntry) -> [String] {
    var words: [String] = []
    if kind != other.kind { words.append("kind") }
    if mode != other.mode { words.append("mode") }
    if userID != other.userID || groupID != other.groupID { words.append("owner") }
    if modified != other.modified { words.append("time") }
    if size != other.size { words.append("size") }
    if extendedAttributes != other.extendedAttributes { words.append("extended attributes") }
    return words
  }
}
