package import CapsuleFormat
import struct Crypto.SHA256

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Blobs by digest, in files that are never written again: `blobs/sha256/HEX` in a directory of the appliance.
package struct ContentStore: Hashable, Sendable {
  /// The state directory.
  package let directory: String
  private let blobs: String

  /// Files that are still being written, in the same file system as the blobs.
  package var temporaryDirectory: String { directory + "/tmp" }

  /// Opens the store, making its directories, and removes what killed writers left behind.
  package init(directory: String) throws(CapsuleError) {
    self.directory = directory
    blobs = directory + "/blobs/sha256"
    for path in [directory, directory + "/blobs", blobs, directory + "/tmp"]
    where mkdir(path, 0o755) != 0 && errno != EEXIST {
      throw .writing(path, errno: errno)
    }
    Leftovers.remove(in: temporaryDirectory)
  }

  /// Where a blob's file is, or would be.
  package func path(of digest: Digest) -> String { "\(blobs)/\(digest.hexadecimal)" }

  package func contains(_ digest: Digest) -> Bool { access(path(of: digest), F_OK) == 0 }

  /// Bytes of a blob.
  ///
  /// - Throws: `CapsuleError` with code `missingBlob`.
  package func size(of digest: Digest) throws(CapsuleError) -> Int64 {
    var status = stat()
    guard stat(path(of: digest), &status) == 0 else { throw missing(digest) }
    return Int64(status.st_size)
  }

  /// The whole of a blob, checked against its digest.
  ///
  /// - Parameter limit: The most bytes that are read; a larger blob is an error.
  package func read(_ digest: Digest, limit: Int) throws(CapsuleError) -> [UInt8] {
    let size = try size(of: digest)
    guard size <= limit else {
      throw CapsuleError(
        .damagedBlob, "The blob \(digest) has \(size) bytes where at most \(limit) make sense",
        remedy: "Import the capsule again")
    }
    guard let file = FileDescriptor.open(path(of: digest), O_RDONLY) else { throw missing(digest) }
    var bytes = [UInt8](repeating: 0, count: Int(size))
    guard let count = bytes.withUnsafeMutableBytes({ file.fill($0) }) else {
      throw .reading(path(of: digest), errno: errno)
    }
    guard count == bytes.count, Digest(of: bytes) == digest else {
      throw CapsuleError(
        .damagedBlob, "The content of \(path(of: digest)) is not what its digest says",
        remedy: "Check the disk; then delete that file and import the capsule again")
    }
    return bytes
  }

  /// Begins a blob that is written piece by piece.
  package func writer() throws(CapsuleError) -> BlobWriter { try BlobWriter(store: self) }

  /// Stores a blob at once.
  package func write(_ bytes: [UInt8], mediaType: String) throws(CapsuleError) -> Descriptor {
    let writer = try writer()
    try writer.write(bytes)
    return try writer.commit(mediaType: mediaType)
  }

  /// Makes the names of new blobs durable.
  func synchronize() throws(CapsuleError) {
    guard let directory = FileDescriptor.open(blobs, O_RDONLY | O_DIRECTORY), fsync(directory.number) == 0 else {
      throw .writing(blobs, errno: errno)
    }
  }

  private func missing(_ digest: Digest) -> CapsuleError {
    CapsuleError(
      .missingBlob, "The blob \(digest) is not in \(directory)",
      remedy: "Import the capsule that needs it again")
  }
}

extension Digest {
  /// The SHA-256 of some bytes.
  package init(of bytes: UnsafeRawBufferPointer) {
    var hash = SHA256()
    hash.update(bufferPointer: bytes)
    guard let digest = Digest(bytes: Array(hash.finalize())) else {
      preconditionFailure("SHA-256 has 32 bytes")
    }
    self = digest
  }

  /// The SHA-256 of some bytes.
  package init(of bytes: [UInt8]) {
    self = bytes.withUnsafeBytes { Digest(of: $0) }
  }
}
