package import CapsuleFormat

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What running nodes of one generation take over of another one, as one blob that they share: a tar stream, compressed
/// with zstd, of what is new or different, and of what is gone as a layer of a container image says it.
package struct LivesyncChange: Hashable, Sendable {
  /// The manifests.
  package var before: Digest
  package var after: Digest
  package var blob: Descriptor
  package var written: Int
  package var removed: Int
  /// The hook in the new tree, an absolute path, and the seconds that it has.
  package var hook: String?
  package var hookSeconds: Int
  /// The kernels' releases.
  package var kernels: (before: String, after: String) { (kernelBefore, kernelAfter) }
  private var kernelBefore: String
  private var kernelAfter: String

  package static let mediaType = MediaType.rootFileSystem
  /// Bytes of tar stream in one zstd frame.
  private static let frameLength = 4 << 20

  /// Makes the blob, to be used by whoever holds the store. The same capsules give the same blob.
  ///
  /// - Throws: `CapsuleError`, among them `damagedBlob`, and `badSettings` where the capsule says in no way that can be
  ///   read what is to be left out; `CancellationError`.
  package static func make(
    from first: Digest, to second: Digest, in store: ContentStore, progress: @escaping ProgressHandler = { _ in }
  ) async throws -> LivesyncChange {
    try await withTaskExecutorPreference(BuildExecutor()) {
      let old = try StoredCapsule.load(first, from: store)
      let new = try StoredCapsule.load(second, from: store)
      let tools = try new.tools(from: store)
      let settings = try new.settings(in: tools)
      func text(_ name: String) -> String {
        TreePath(name).flatMap { tools.files[$0] }.map { String(decoding: $0.content, as: UTF8.self) } ?? ""
      }
      let skip = try LivesyncSkip(paths: settings.livesyncSkip, list: text("livesync.skip"))
      let before = try Contents(old, store, progress)
      let after = try Contents(new, store, progress)
      let changed = Self.changed(before, after, skip)
      let gone = Self.gone(before, after, skip)
      let writer = try store.writer()
      var sink = Packer(included: changed, writer: writer, compressor: CompressorPool(level: 3))
      var reader = TarReader()
      let total = new.config.rootBytes
      let bad = try RootStream(capsule: new, store: store).read {
        progress(BuildProgress(phase: .packing, completedBytes: $0, totalBytes: total))
      } _: {
        try reader.consume($0, into: &sink)
      }
      guard bad.isEmpty else {
        throw CapsuleError(
          .damagedBlob, "The root file system of \(new.config.name) cannot be read whole",
          remedy: "`perseid vnfs verify` tells all that is damaged; import the capsule again")
      }
      for path in gone { try sink.add(Self.whiteout(of: path)) }
      try sink.finish()
      let hasHook = TreePath("hooks/livesync").map { tools.files[$0] != nil } ?? false
      return LivesyncChange(
        before: first, after: second, blob: try writer.commit(mediaType: mediaType), written: changed.count,
        removed: gone.count, hook: hasHook ? "/" + settings.path(of: .livesync) : nil,
        hookSeconds: settings.hookSeconds, kernelBefore: old.config.kernelRelease,
        kernelAfter: new.config.kernelRelease)
    }
  }

  /// Paths of what is new or different.
  private static func changed(_ old: Contents, _ new: Contents, _ skip: borrowing LivesyncSkip) -> Set<TreePath> {
    var paths: Set<TreePath> = []
    for (name, file) in new.files {
      let path = file.entry.path
      // Its name would say that something is gone.
      if path.isRoot || path.name.starts(with: Whiteout.prefix) || skip.skips(path) { continue }
      guard let other = old.files[name] else {
        paths.insert(path)
        continue
      }
      let what = other.entry.differences(to: file.entry)
      // When something was put into a directory is of no interest.
      let isTimeAlone = what == ["time"] && file.entry.kind == .directory
      if other.content != file.content || !what.isEmpty && !isTimeAlone { paths.insert(path) }
    }
    // The other names of a file that is another one now.
    for file in new.files.values {
      if case .hardLink(let original) = file.entry.kind, paths.contains(original), !skip.skips(file.entry.path) {
        paths.insert(file.entry.path)
      }
    }
    return paths
  }

  /// Paths of what is gone, a directory in front of what is in it; not of what goes with a directory that is one no more.
  private static func gone(_ old: Contents, _ new: Contents, _ skip: borrowing LivesyncSkip) -> [TreePath] {
    var paths: [TreePath] = []
    for (name, file) in old.files where new.files[name] == nil {
      let path = file.entry.path
      if path.isRoot || skip.skips(path) { continue }
      if let parent = new.files[path.parent.description], parent.entry.kind != .directory { continue }
      paths.append(path)
    }
    return paths.sorted()
  }

  private static func whiteout(of path: TreePath) throws -> TarEntry {
    TarEntry(
      path: try path.parent.appending(name: Whiteout.prefix + path.name), kind: .file, mode: 0o600, userID: 0,
      groupID: 0, modified: Timestamp(seconds: 0))
  }

  /// Writes the entries that are included, of a stream.
  private struct Packer: TarSink {
    let included: Set<TreePath>
    let writer: BlobWriter
    let compressor: CompressorPool
    private var pending: [UInt8] = []
    private var current: (size: UInt64, position: UInt64)?

    init(included: Set<TreePath>, writer: BlobWriter, compressor: CompressorPool) {
      self.included = included
      self.writer = writer
      self.compressor = compressor
    }

    mutating func add(_ entry: TarEntry) throws {
      pending += try TarWriter.header(of: entry)
      try flush()
    }

    mutating func entry(_ entry: TarEntry) throws {
      current = nil
      guard included.contains(entry.path) else { return }
      try add(entry)
      if entry.kind == .file { current = (entry.size, 0) }
    }

    mutating func content(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws {
      guard let file = current else { return }
      try fill(offset - file.position)
      pending += bytes
      current?.position = offset + UInt64(bytes.count)
      try flush()
    }

    mutating func endEntry() throws {
      guard let file = current else { return }
      try fill(file.size - file.position)
      pending += [UInt8](repeating: 0, count: TarWriter.padding(after: file.size))
      current = nil
      try flush()
    }

    /// A hole reads as zeros. A stored capsule has none, so that this is no work.
    private mutating func fill(_ count: UInt64) throws {
      var left = count
      while left > 0 {
        let piece = Int(min(left, UInt64(LivesyncChange.frameLength)))
        pending += [UInt8](repeating: 0, count: piece)
        left -= UInt64(piece)
        try flush()
      }
    }

    private mutating func flush(all: Bool = false) throws {
      guard pending.count >= LivesyncChange.frameLength || all else { return }
      try Task.checkCancellation()
      try writer.write(try compressor.compress(pending))
      pending.removeAll(keepingCapacity: true)
    }

    mutating func finish() throws {
      pending += [UInt8](repeating: 0, count: 1024)
      try flush(all: true)
    }
  }
}

extension StoredCapsule {
  /// What configures and keeps the capsule, as files.
  func tools(from store: ContentStore) throws -> FileBundle {
    guard let tools = manifest.layer(MediaType.tools) else { return FileBundle() }
    do {
      return try FileBundle(decoding: try store.read(tools.digest, limit: FileBundle.blobLimit))
    } catch let error as TarError {
      throw CapsuleError(
        .badManifest, "The tools of the capsule \(config.name) cannot be read: \(error)",
        remedy: "Check it: perseid vnfs verify \(config.name)")
    }
  }

  /// What its own file says.
  func settings(in tools: FileBundle) throws -> CapsuleSettings {
    guard let file = TreePath("capsule.yaml").flatMap({ tools.files[$0] }) else { return CapsuleSettings() }
    return try CapsuleSettings.parse(
      yaml: String(decoding: file.content, as: UTF8.self), file: "/\(CapsuleSettings.path) of \(config.name)")
  }
}
