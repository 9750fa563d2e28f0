package import CapsuleFormat
import Crypto

/// SHA-256 over bytes that come in pieces.
package struct ContentHash {
  private var hash = SHA256()

  package init() {}

  package mutating func update(_ bytes: UnsafeRawBufferPointer) {
    hash.update(bufferPointer: bytes)
  }

  package func finish() -> CapsuleFormat.Digest {
    guard let digest = CapsuleFormat.Digest(bytes: Array(hash.finalize())) else {
      preconditionFailure("SHA-256 has 32 bytes")
    }
    return digest
  }
}

extension CapsuleFormat.Digest {
  /// SHA-256 of bytes.
  package static func ofContent(_ bytes: [UInt8]) -> Self {
    bytes.withUnsafeBytes { ofContent($0) }
  }

  /// SHA-256 of bytes.
  package static func ofContent(_ bytes: UnsafeRawBufferPointer) -> Self {
    var hash = ContentHash()
    hash.update(bytes)
    return hash.finish()
  }
}
