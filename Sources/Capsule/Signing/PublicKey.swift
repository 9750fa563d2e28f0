package import CapsuleFormat
import Crypto
import FoundationEssentials

/// An Ed25519 public key.
package struct PublicKey: Hashable, Sendable {
  /// 32 bytes (RFC 8032, section 5.1.5).
  package let bytes: [UInt8]

  init?(bytes: [UInt8]) {
    guard bytes.count == 32, (try? Curve25519.Signing.PublicKey(rawRepresentation: bytes)) != nil else { return nil }
    self.bytes = bytes
  }

  /// What the key is called wherever it goes: the SHA-256 of its SubjectPublicKeyInfo in DER, as
  /// `openssl pkey -pubin -outform DER | sha256sum` says.
  package var identifier: CapsuleFormat.Digest { CapsuleFormat.Digest(of: Self.prefix + bytes) }

  /// SubjectPublicKeyInfo (RFC 8410, section 4), as `openssl pkey -pubout` writes it.
  package var pem: String { PEM.text("PUBLIC KEY", Self.prefix + bytes) }

  /// `nil` where the text is not an Ed25519 public key in PEM.
  package init?(pem: String) {
    guard let der = PEM.bytes("PUBLIC KEY", pem), der.starts(with: Self.prefix) else { return nil }
    self.init(bytes: Array(der.dropFirst(Self.prefix.count)))
  }

  /// SEQUENCE { SEQUENCE { OID 1.3.101.112 } BIT STRING of 32 bytes }, up to the bytes.
  private static let prefix: [UInt8] = [0x30, 0x2A, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x03, 0x21, 0x00]

  package func isSignature(_ signature: [UInt8], of message: [UInt8]) -> Bool {
    guard let key = try? Curve25519.Signing.PublicKey(rawRepresentation: bytes) else { return false }
    return key.isValidSignature(signature, for: message)
  }
}

/// An Ed25519 private key.
package struct PrivateKey: Sendable {
  private let key: Curve25519.Signing.PrivateKey

  package init() {
    key = Curve25519.Signing.PrivateKey()
  }

  package var publicKey: PublicKey? { PublicKey(bytes: Array(key.publicKey.rawRepresentation)) }

  /// PKCS #8 (RFC 8410, section 7), as `openssl genpkey -algorithm ed25519` writes it.
  package var pem: String { PEM.text("PRIVATE KEY", Self.prefix + Array(key.rawRepresentation)) }

  /// `nil` where the text is not an Ed25519 private key in PEM, without a password.
  package init?(pem: String) {
    guard let der = PEM.bytes("PRIVATE KEY", pem), der.starts(with: Self.prefix), der.count == Self.prefix.count + 32,
      let key = try? Curve25519.Signing.PrivateKey(rawRepresentation: der.dropFirst(Self.prefix.count))
    else { return nil }
    self.key = key
  }

  /// SEQUENCE { INTEGER 0, SEQUENCE { OID 1.3.101.112 }, OCTET STRING { OCTET STRING of 32 bytes } }, up to the bytes.
  private static let prefix: [UInt8] = [
    0x30, 0x2E, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
  ]

  /// 64 bytes (RFC 8032, section 5.1.6).
  package func signature(of message: [UInt8]) throws -> [UInt8] { Array(try key.signature(for: message)) }
}

/// RFC 7468.
private enum PEM {
  static func text(_ label: String, _ bytes: [UInt8]) -> String {
    "-----BEGIN \(label)-----\n\(Data(bytes).base64EncodedString())\n-----END \(label)-----\n"
  }

  static func bytes(_ label: String, _ text: String) -> [UInt8]? {
    let lines = text.split(whereSeparator: \.isNewline).map { $0.filter { $0 != " " && $0 != "\t" } }
    guard let begin = lines.firstIndex(of: "-----BEGIN\(label.filter { $0 != " " })-----"),
      let end = lines[begin...].firstIndex(of: "-----END\(label.filter { $0 != " " })-----")
    else { return nil }
    return Data(base64Encoded: lines[(begin + 1)..<end].joined()).map { Array($0) }
  }
}
