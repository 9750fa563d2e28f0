import CapsuleFormat
import struct Crypto.SHA256

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Where some bytes are in a file.
struct FileExtent: Hashable, Sendable {
  var offset: Int64
  /// Bytes.
  var length: Int64

  /// Hands them on in pieces that are valid during the call only.
  ///
  /// - Parameter path: The file's, for people.
  /// - Returns: The digest of them all.
  func pieces(
    of file: borrowing FileDescriptor, path: String, _ body: (UnsafeRawBufferPointer) throws -> Void
  ) throws -> Digest {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
    defer { buffer.deallocate() }
    var hash = SHA256()
    var done: Int64 = 0
    while done < length {
      let wanted = UnsafeMutableRawBufferPointer(rebasing: buffer[..<Int(min(Int64(buffer.count), length - done))])
      guard let count = file.fill(wanted, at: offset + done) else { throw CapsuleError.reading(path, errno: errno) }
      guard count == wanted.count else {
        throw CapsuleError(
          .unreadable, "\(path) became shorter while it was read", remedy: "Let nothing write to it, and try again")
      }
      let piece = UnsafeRawBufferPointer(wanted)
      hash.update(bufferPointer: piece)
      try body(piece)
      done += Int64(count)
    }
    guard let digest = Digest(bytes: Array(hash.finalize())) else { preconditionFailure("SHA-256 has 32 bytes") }
    return digest
  }
}
