import CLinux
package import CapsuleFormat
import struct Crypto.SHA256

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Writes one blob: a temporary file that becomes content under its digest when it is whole and on disk.
///
/// Let go of without `publish` or `commit`, it leaves nothing. Used by one task at a time.
package final class BlobWriter {
  private let store: ContentStore
  private let file: FileDescriptor
  /// For those who write the content themselves, in no order, before `adopt`.
  let temporaryPath: String
  private var hash = SHA256()
  /// Bytes written so far.
  package private(set) var count: Int64 = 0
  private var early = EarlyWriting()
  private var sealed: Descriptor?
  private var isOpen = true
  private var isDurable = false

  init(store: ContentStore) throws(CapsuleError) {
    self.store = store
    let path = "\(store.temporaryDirectory)/blob-\(getpid())-\(UInt64.random(in: 0...UInt64.max))"
    guard let file = FileDescriptor.open(path, O_RDWR | O_CREAT | O_EXCL, mode: 0o600) else {
      throw .writing(path, errno: errno)
    }
    // Held as long as the file is open: who cleans up leftovers leaves a locked file alone.
    _ = flock(file.number, LOCK_EX | LOCK_NB)
    self.file = file
    temporaryPath = path
  }

  deinit {
    if isOpen { unlink(temporaryPath) }
  }

  package func write(_ bytes: UnsafeRawBufferPointer) throws(CapsuleError) {
    guard file.writeAll(bytes) else { throw .writing(temporaryPath, errno: errno) }
    hash.update(bufferPointer: bytes)
    count += Int64(bytes.count)
    early.advance(to: count, of: file.number)
  }

  package func write(_ bytes: [UInt8]) throws(CapsuleError) {
    var failure: CapsuleError?
    bytes.withUnsafeBytes { buffer in
      do throws(CapsuleError) { try write(buffer) } catch { failure = error }
    }
    if let failure { throw failure }
  }

  /// Makes the content durable, still without a name. To be followed by `publish`.
  package func seal(mediaType: String) throws(CapsuleError) -> Descriptor {
    guard let digest = Digest(bytes: Array(hash.finalize())) else {
      preconditionFailure("SHA-256 has 32 bytes")
    }
    // What the store has already is durable already.
    if (try? store.size(of: digest)) != count {
      guard fchmod(file.number, 0o444) == 0, fsync(file.number) == 0 else {
        throw .writing(temporaryPath, errno: errno)
      }
      isDurable = true
    }
    let descriptor = Descriptor(mediaType: mediaType, digest: digest, size: count)
    sealed = descriptor
    return descriptor
  }

  /// Takes over what has been written to `temporaryPath`.
  ///
  /// - Parameter observe: Gets all of it, in pieces of whole blocks of 4 KiB but for the last.
  func adopt(_ observe: (UnsafeRawBufferPointer) throws -> Void) throws {
    // Small enough to be in the processor's cache still when it is hashed.
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 4096)
    defer { buffer.deallocate() }
    while true {
      try Task.checkCancellation()
      guard let filled = file.fill(buffer, at: count) else {
        throw CapsuleError.reading(temporaryPath, errno: errno)
      }
      if filled == 0 { return }
      let bytes = UnsafeRawBufferPointer(rebasing: buffer[..<filled])
      hash.update(bufferPointer: bytes)
      try observe(bytes)
      count += Int64(filled)
    }
  }

  /// What has been written, from its beginning.
  ///
  /// - Parameter limit: In bytes; `nil` where there is more.
  func content(limit: Int) throws(CapsuleError) -> [UInt8]? {
    guard count <= limit else { return nil }
    var bytes = [UInt8](repeating: 0, count: Int(count))
    guard let filled = bytes.withUnsafeMutableBytes({ file.fill($0, at: 0) }), filled == bytes.count else {
      throw .reading(temporaryPath, errno: errno)
    }
    return bytes
  }

  /// Gives the sealed content its name. Where the store has it already, the store's own stays.
  package func publish() throws(CapsuleError) {
    guard let sealed else { preconditionFailure("a blob is sealed before it is published") }
    let path = store.path(of: sealed.digest)
    if access(path, F_OK) == 0 {
      unlink(temporaryPath)
    } else {
      // Deleted meanwhile.
      guard isDurable || (fchmod(file.number, 0o444) == 0 && fsync(file.number) == 0) else {
        throw .writing(temporaryPath, errno: errno)
      }
      guard rename(temporaryPath, path) == 0 else { throw .writing(path, errno: errno) }
    }
    isOpen = false
    try store.synchronize()
  }

  /// Seals and publishes.
  package func commit(mediaType: String) throws(CapsuleError) -> Descriptor {
    let descriptor = try seal(mediaType: mediaType)
    try publish()
    return descriptor
  }
}

/// Has a new file written to the disk while more of it is made, so that the fsync(2) at its end has little to wait for.
struct EarlyWriting {
  private static let step: Int64 = 8 << 20
  private var started: Int64 = 0

  /// - Parameter end: Of what has been written to the file.
  mutating func advance(to end: Int64, of file: Int32) {
    guard end - started >= Self.step else { return }
    clinux_start_writing(file, started, end - started)
    started = end
  }
}
