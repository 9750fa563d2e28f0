package import CapsuleFormat

import struct Crypto.SHA256

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What is different between two stored capsules.
package struct CapsuleDifference: Hashable, Sendable, Codable {
  /// A package in two versions; `null` where one of the capsules does not have it.
  package struct Package: Hashable, Sendable, Codable {
    package var name: String
    package var before: String?
    package var after: String?

    package init(name: String, before: String?, after: String?) {
      self.name = name
      self.before = before
      self.after = after
    }
  }

  /// A file that both have.
  package struct File: Hashable, Sendable, Codable {
    package var path: String
    /// `content`, `kind`, `mode`, `owner`, `size`, `extended attributes`.
    package var what: [String]

    package init(path: String, what: [String]) {
      self.path = path
      self.what = what
    }
  }

  package struct Side: Hashable, Sendable, Codable {
    package var digest: String
    package var kernel: String
    /// All blobs together.
    package var bytes: Int64
    /// Of the root file system, uncompressed.
    package var rootBytes: Int64
    package var entries: Int
  }

  package var before: Side
  package var after: Side
  package var packages: [Package] = []
  package var added: [String] = []
  package var removed: [String] = []
  package var changed: [File] = []
  /// Files that differ in nothing but their time.
  package var touched = 0
  /// Bytes that a node which has the first needs for the second: the frames that are not in it.
  package var newFrameBytes: Int64 = 0

  package var isEmpty: Bool {
    packages.isEmpty && added.isEmpty && removed.isEmpty && changed.isEmpty && touched == 0
      && before.kernel == after.kernel
  }

  /// Reads both capsules through.
  ///
  /// - Throws: `CapsuleError`, among them `damagedBlob` where a frame is not what its digest says; `CancellationError`.
  package static func between(
    _ first: Digest, _ second: Digest, in store: ContentStore, progress: @escaping ProgressHandler = { _ in }
  ) async throws -> CapsuleDifference {
    try await withTaskExecutorPreference(BuildExecutor()) {
      let before = try Contents(StoredCapsule.load(first, from: store), store, progress)
      let after = try Contents(StoredCapsule.load(second, from: store), store, progress)
      return Self(before, after)
    }
  }

  private init(_ old: Contents, _ new: Contents) {
    before = old.side
    after = new.side
    for name in Set(old.packages.keys).union(new.packages.keys).sorted() where old.packages[name] != new.packages[name]
    {
      packages.append(Package(name: name, before: old.packages[name], after: new.packages[name]))
    }
    for (path, file) in new.files {
      guard let other = old.files[path] else {
        added.append(path)
        continue
      }
      var what = other.entry.differences(to: file.entry)
      if other.content != file.content { what = ["content"] + what.filter { $0 != "size" } }
      if what == ["time"] {
        touched += 1
      } else if !what.isEmpty {
        changed.append(File(path: path, what: what.filter { $0 != "time" }))
      }
    }
    removed = old.files.keys.filter { new.files[$0] == nil }.sorted()
    added.sort()
    changed.sort { $0.path < $1.path }
    newFrameBytes = new.frames.filter { old.frames[$0.key] == nil }.values.reduce(0, +)
  }
}

/// A capsule read through.
struct Contents {
  struct File {
    var entry: TarEntry
    /// Of a file's content; `nil` for what has none.
    var content: Digest?
  }

  var files: [String: File] = [:]
  /// Versions by name.
  var packages: [String: String] = [:]
  /// Compressed lengths by uncompressed digest.
  var frames: [Digest: Int64] = [:]
  var side: CapsuleDifference.Side

  init(_ capsule: StoredCapsule, _ store: ContentStore, _ progress: ProgressHandler) throws {
    var reader = TarReader()
    var sink = EntryGatherer(ContentReaderObserver())
    let total = capsule.config.rootBytes
    let bad = try RootStream(capsule: capsule, store: store).read {
      progress(BuildProgress(phase: .checking, completedBytes: $0, totalBytes: total))
    } _: {
      try reader.consume($0, into: &sink)
    }
    if let frame = bad.first {
      throw CapsuleError(
        .damagedBlob, "Frame \(frame.number) of the root file system of \(capsule.digest): \(frame.reason)",
        remedy: "`perseid vnfs verify` tells all that is damaged; import the capsule again")
    }
    for entry in sink.entries {
      let path = entry.path.description
      files[path] = File(entry: entry, content: sink.observer.contents[path])
    }
    packages = try PackageDatabase.packages(sink.observer.databases, scratchIn: store.temporaryDirectory)
    for frame in try capsule.frames(from: store).frames {
      frames[frame.uncompressedDigest] = Int64(frame.compressedLength)
    }
    side = CapsuleDifference.Side(
      digest: capsule.digest.description, kernel: capsule.config.kernelRelease, bytes: capsule.bytes,
      rootBytes: capsule.config.rootBytes, entries: sink.entries.count)
  }
}

/// Digests of files, and the whole of those that name packages.
private struct ContentReaderObserver: ContentObserver {
  var contents: [String: Digest] = [:]
  var databases: [String: [UInt8]] = [:]
  private var path = ""
  private var isFile = false
  private var hash = SHA256()
  private var position: UInt64 = 0
  private var size: UInt64 = 0
  private var kept: [UInt8]?

  mutating func began(_ entry: TarEntry) {
    isFile = entry.kind == .file
    guard isFile else { return }
    path = entry.path.description
    hash = SHA256()
    position = 0
    size = entry.size
    kept = PackageDatabase.isPart(path) && entry.size <= UInt64(PackageDatabase.sizeLimit) ? [] : nil
  }

  mutating func read(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) {
    fill(to: offset)
    hash.update(bufferPointer: bytes)
    kept?.append(contentsOf: bytes)
    position = offset + UInt64(bytes.count)
  }

  mutating func ended() {
    guard isFile else { return }
    fill(to: size)
    contents[path] = Digest(bytes: Array(hash.finalize()))
    if let kept { databases[path] = kept }
    kept = nil
    isFile = false
  }

  /// A hole reads as zeros. A stored capsule has none, so that this is no work.
  private mutating func fill(to end: UInt64) {
    while position < end {
      let zeros = [UInt8](repeating: 0, count: Int(min(end - position, 1 << 20)))
      hash.update(data: zeros)
      kept?.append(contentsOf: zeros)
      position += UInt64(zeros.count)
    }
  }
}
