package import CapsuleFormat

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Keeps every blob of a store where it is, as long as it is held: for those who write blobs that no registered
/// generation names yet, and those who read what might be deleted meanwhile. Any number may hold a store; a
/// process that is killed holds it no more.
package final class StoreHold: Sendable {
  private let file: FileDescriptor

  fileprivate init(owning file: consuming FileDescriptor) {
    self.file = file
  }
}

extension ContentStore {
  /// Seconds that a collection may take until those who wait for its end give up.
  private static let patience = 60

  /// - Throws: `CapsuleError` where the store cannot be written, or is being collected for longer than a minute.
  package func hold() throws(CapsuleError) -> StoreHold {
    let file = try lockFile()
    let end = time(nil) + Self.patience
    while flock(file.number, LOCK_SH | LOCK_NB) != 0 {
      guard errno == EWOULDBLOCK || errno == EINTR, time(nil) < end else {
        throw CapsuleError(
          .storage, "The content store in \(directory) is busy removing unused blobs",
          remedy: "Try again in a minute")
      }
      usleep(10_000)
    }
    return StoreHold(owning: file)
  }

  /// What a collection removed.
  package struct Collected: Hashable, Sendable {
    package var blobs = 0
    /// Bytes of their files.
    package var bytes: Int64 = 0

    package init() {}
  }

  /// Removes every blob that none of these capsules needs.
  ///
  /// - Parameters:
  ///   - manifests: Asked once nobody holds the store, so that nothing can have been added since.
  ///   - blobs: Others that are needed, asked at the same time.
  /// - Returns: `nil` where somebody holds the store: to be tried again later.
  /// - Throws: `CapsuleError` where a manifest is damaged, since nobody knows what it needs. One that is
  ///   missing needs nothing.
  package func collect(
    keeping manifests: () -> Set<Digest>, blobs: () -> Set<Digest> = { [] }
  ) throws(CapsuleError) -> Collected? {
    let file = try lockFile()
    guard flock(file.number, LOCK_EX | LOCK_NB) == 0 else { return nil }
    var needed = blobs()
    for digest in manifests() where contains(digest) {
      let manifest = try StoredCapsule.manifest(digest, in: self)
      needed.insert(digest)
      needed.insert(manifest.config.digest)
      for layer in manifest.layers { needed.insert(layer.digest) }
    }
    var collected = Collected()
    for digest in try digests() where !needed.contains(digest) {
      let size = try size(of: digest)
      guard unlink(path(of: digest)) == 0 else { throw .writing(path(of: digest), errno: errno) }
      collected.blobs += 1
      collected.bytes += size
    }
    return collected
  }

  /// Of every blob there is.
  func digests() throws(CapsuleError) -> [Digest] {
    let path = directory + "/blobs/sha256"
    guard let entries = opendir(path) else { throw .reading(path, errno: errno) }
    defer { closedir(entries) }
    var digests: [Digest] = []
    while let entry = readdir(entries) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { raw in
        String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self)
      }
      if let digest = Digest(hexadecimal: name) { digests.append(digest) }
    }
    return digests
  }

  private func lockFile() throws(CapsuleError) -> FileDescriptor {
    let path = directory + "/blobs/lock"
    guard let file = FileDescriptor.open(path, O_RDWR | O_CREAT, mode: 0o644) else {
      throw .writing(path, errno: errno)
    }
    return file
  }
}
