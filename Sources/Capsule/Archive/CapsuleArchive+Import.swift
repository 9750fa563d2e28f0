import CapsuleFormat
import FoundationEssentials

extension CapsuleArchive {
  /// Whether a file is a capsule, by its content.
  ///
  /// - Throws: `CapsuleError` where it is one, or begins as one, and is damaged.
  package static func isCapsule(_ path: String) throws -> Bool {
    guard let archive = try LayoutArchive.open(path) else { return false }
    return try CapsuleReader(archive).manifest() != nil
  }

  /// Puts the capsule of a file into a store. Each blob is checked while it is copied, the capsule as a whole before
  /// anything of it gets a name: an import that fails or is cancelled leaves nothing.
  ///
  /// - Returns: The capsule, and what stands beside its digest in the file's index.
  /// - Throws: `CapsuleError`, or `CancellationError`.
  package static func `import`(
    _ path: String, into store: ContentStore, progress: @escaping ProgressHandler = { _ in }
  ) async throws -> (capsule: StoredCapsule, annotations: [String: String]) {
    try await withTaskExecutorPreference(BuildExecutor()) {
      guard let archive = try LayoutArchive.open(path) else {
        throw CapsuleError(
          .badArchive, "\(path) is not a capsule", remedy: "Name a .capsule file that 'perseid vnfs export' made")
      }
      let reader = CapsuleReader(archive)
      guard let (descriptor, manifest) = try reader.manifest() else {
        throw LayoutArchive.damaged(path, "no manifest in it is that of a capsule")
      }
      return (try reader.copy(descriptor, manifest, to: store, progress), descriptor.annotations ?? [:])
    }
  }
}

/// Reads the one capsule in an archive. Nothing that the archive says of its blobs is believed: sizes are held against
/// the archive before anything is written, digests while it is.
private struct CapsuleReader: ~Copyable {
  private let archive: LayoutArchive

  /// Index entries looked at.
  private static let manifestLimit = 16

  init(_ archive: consuming LayoutArchive) {
    self.archive = archive
  }

  /// The capsule's manifest; `nil` where the layout is that of something else, such as a container image.
  func manifest() throws -> (Descriptor, CapsuleManifest)? {
    guard let bytes = try archive.read(ImageLayout.index, limit: CapsuleManifest.sizeLimit) else { return nil }
    let index: ImageLayout.Index = try decode(bytes, ImageLayout.index)
    guard index.manifests.count <= Self.manifestLimit else {
      throw bad("its index names \(index.manifests.count) manifests, where at most \(Self.manifestLimit) make sense")
    }
    var found: (Descriptor, CapsuleManifest)?
    for descriptor in index.manifests where descriptor.mediaType == MediaType.manifest {
      // Images for several platforms may be there without all of these.
      guard archive.extent(ImageLayout.path(of: descriptor.digest)) != nil else { continue }
      let bytes = try small(descriptor, "manifest")
      // A container image has another artifactType, or none.
      guard let kind = try? JSONDecoder().decode(ArtifactKind.self, from: Data(bytes)),
        kind.artifactType == MediaType.capsule
      else { continue }
      guard found == nil else { throw bad("it has several capsules, and one is expected") }
      found = (descriptor, try decode(bytes, "manifest"))
    }
    return found
  }

  private struct ArtifactKind: Decodable {
    var artifactType: String?
  }

  func copy(
    _ descriptor: Descriptor, _ manifest: CapsuleManifest, to store: ContentStore, _ progress: ProgressHandler
  ) throws -> StoredCapsule {
    guard manifest.layers.count <= CapsuleManifest.layerLimit else {
      throw bad(
        "its manifest names \(manifest.layers.count) layers, where at most \(CapsuleManifest.layerLimit) are allowed")
    }
    var blobs: [Descriptor] = []
    var total: Int64 = 0
    for blob in manifest.layers + [manifest.config, descriptor]
    where !blobs.contains(where: { $0.digest == blob.digest }) {
      // Before anything is written. Each is no larger than the file, so their sum cannot overflow.
      total += try extent(blob).length
      blobs.append(blob)
    }
    var writers: [Digest: BlobWriter] = [:]
    var done: Int64 = 0
    for blob in blobs where (try? store.size(of: blob.digest)) != blob.size {
      let writer = try store.writer()
      _ = try extent(blob).pieces(of: archive.file, path: archive.path) { piece in
        try Task.checkCancellation()
        try writer.write(piece)
        done += Int64(piece.count)
        progress(BuildProgress(phase: .copying, completedBytes: done, totalBytes: total))
      }
      guard try writer.seal(mediaType: blob.mediaType).digest == blob.digest else {
        throw bad("the content of its blob \(blob.digest) is not what that digest says")
      }
      writers[blob.digest] = writer
    }
    try check(manifest, writers, store)
    try Task.checkCancellation()
    for blob in blobs { try writers[blob.digest]?.publish() }
    let capsule = try StoredCapsule.load(descriptor.digest, from: store)
    progress(BuildProgress(phase: .done, completedBytes: total, totalBytes: total))
    return capsule
  }

  /// That the parts fit together, before any of them has a name.
  private func check(_ manifest: CapsuleManifest, _ writers: [Digest: BlobWriter], _ store: ContentStore) throws {
    func content(_ blob: Descriptor, limit: Int) throws -> [UInt8] {
      guard let writer = writers[blob.digest] else { return try store.read(blob.digest, limit: limit) }
      guard let bytes = try writer.content(limit: limit) else {
        throw bad("its blob \(blob.digest) has \(blob.size) bytes, where at most \(limit) make sense")
      }
      return bytes
    }
    guard manifest.schemaVersion == 2 else { throw bad("its manifest has version \(manifest.schemaVersion), not 2") }
    for type in [
      MediaType.rootFileSystem, MediaType.frameIndex, MediaType.kernel, MediaType.initramfs, MediaType.stage1,
    ] where manifest.layers.filter({ $0.mediaType == type }).count != 1 {
      throw bad("its manifest does not name one \(type)")
    }
    let config: CapsuleConfig = try decode(
      try content(manifest.config, limit: CapsuleManifest.sizeLimit), "configuration")
    guard CapsuleName.isValid(config.name) else {
      throw bad("its name '\(config.name)' is none that a capsule can have")
    }
    guard let root = manifest.layer(MediaType.rootFileSystem), let blob = manifest.layer(MediaType.frameIndex) else {
      return
    }
    let index: FrameIndex
    do {
      index = try FrameIndex(decoding: try content(blob, limit: FrameIndex.sizeLimit))
    } catch let error as FrameIndexError {
      throw bad(error.description)
    }
    guard Int64(clamping: index.compressedLength) == root.size,
      Int64(clamping: index.uncompressedLength) == config.rootBytes
    else { throw bad("its frame index is of another root file system") }
  }

  /// The whole of a blob that is small, checked against its digest.
  private func small(_ blob: Descriptor, _ what: String) throws -> [UInt8] {
    let place = try extent(blob)
    guard place.length <= CapsuleManifest.sizeLimit else {
      throw bad("its \(what) has \(place.length) bytes, where at most \(CapsuleManifest.sizeLimit) are allowed")
    }
    var bytes: [UInt8] = []
    guard try place.pieces(of: archive.file, path: archive.path, { bytes += $0 }) == blob.digest else {
      throw bad("the content of its \(what) is not what its digest says")
    }
    return bytes
  }

  private func extent(_ blob: Descriptor) throws -> FileExtent {
    guard let extent = archive.extent(ImageLayout.path(of: blob.digest)) else {
      throw bad("the blob \(blob.digest) (\(blob.mediaType)) is missing")
    }
    guard extent.length == blob.size else {
      throw bad("its blob \(blob.digest) has \(extent.length) bytes, where its manifest says \(blob.size)")
    }
    return extent
  }

  private func decode<Value: Decodable>(_ bytes: [UInt8], _ what: String) throws -> Value {
    do {
      return try JSONDecoder().decode(Value.self, from: Data(bytes))
    } catch {
      throw bad("its \(what) cannot be read (\(error))")
    }
  }

  private func bad(_ reason: String) -> CapsuleError { LayoutArchive.damaged(archive.path, reason) }
}
