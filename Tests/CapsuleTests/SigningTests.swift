import Capsule
import CapsuleFormat
import Foundation
import TestSupport
import Testing

@Suite struct SigningTests {
  let directory: TemporaryDirectory
  let store: ContentStore
  let keyring: Keyring

  init() throws {
    directory = try TemporaryDirectory()
    store = try ContentStore(directory: directory.path)
    keyring = Keyring(directory: directory.path + "/keys")
  }

  /// A manifest of small blobs: all that signing looks at.
  func capsule(_ text: String = "a") throws -> Digest {
    let config = try store.write(Array("{}".utf8), mediaType: MediaType.config)
    let layer = try store.write(Array(text.utf8), mediaType: MediaType.kernel)
    let manifest = CapsuleManifest(config: config, layers: [layer])
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return try store.write([UInt8](try encoder.encode(manifest)), mediaType: MediaType.manifest).digest
  }

  func sign(_ digest: Digest, _ name: String) throws -> CapsuleSignature {
    let bytes = try store.read(digest, limit: 1 << 20)
    return CapsuleSignature(
      key: try keyring.entry(name).key.identifier, signature: try keyring.privateKey(name).signature(of: bytes))
  }

  @Test(.enabled(if: isInstalled("openssl")))
  func `openssl reads the keys, checks our signatures, and makes ones that we take`() throws {
    _ = try keyring.create("lab")
    #expect(try directory.run("stat -c %a keys/lab.key keys") == "600\n700\n")
    let digest = try capsule()
    let signature = try sign(digest, "lab")
    try directory.write(signature.bytes, to: "signature")
    let manifest = store.path(of: digest)
    try directory.run(
      "openssl pkeyutl -verify -pubin -inkey keys/lab.pub -rawin -in '\(manifest)' -sigfile signature")
    #expect(throws: CommandFailure.self) {
      try directory.run("openssl pkeyutl -verify -pubin -inkey keys/lab.pub -rawin -in keys/lab.pub -sigfile signature")
    }
    try directory.run("openssl pkeyutl -sign -inkey keys/lab.key -rawin -in '\(manifest)' -out theirs")
    #expect(
      try keyring.entry("lab").key.isSignature(directory.read("theirs"), of: store.read(digest, limit: 1 << 20)))
    let identifier = try directory.run("openssl pkey -pubin -in keys/lab.pub -outform DER | sha256sum | cut -c1-64")
    #expect(try keyring.entry("lab").key.identifier.hexadecimal + "\n" == identifier)
    // Keys that openssl made.
    try directory.run(
      "openssl genpkey -algorithm ed25519 -out theirs.pem; openssl pkey -in theirs.pem -pubout -out vendor.pub")
    #expect(try keyring.trust("\(directory.path)/vendor.pub", as: "vendor").canSign == false)
    #expect(PrivateKey(pem: String(decoding: try directory.read("theirs.pem"), as: UTF8.self)) != nil)
  }

  @Test func `a signed capsule opens to the one that was signed, and says by whom`() throws {
    _ = try keyring.create("lab")
    _ = try keyring.create("other")
    let digest = try capsule()
    let signed = try SignedManifest.make(
      of: digest, signatures: [try sign(digest, "lab"), try sign(digest, "other")], in: store)
    #expect(signed.digest != digest)
    let (opened, signatures) = try SignedManifest.open(signed.digest, in: store)
    #expect(opened == digest)
    #expect(
      try SignedManifest.signers(of: opened, signatures, in: store, trusting: keyring).map(\.name) == ["lab", "other"])
    let plain = try SignedManifest.open(digest, in: store)
    #expect(plain.capsule == digest && plain.signatures.isEmpty)
    // A key that is not known says nothing.
    _ = try keyring.delete("other")
    #expect(try SignedManifest.signers(of: opened, signatures, in: store, trusting: keyring).map(\.name) == ["lab"])
  }

  @Test func `a manifest that names something else than the signed one in it is refused`() throws {
    _ = try keyring.create("lab")
    let digest = try capsule("good")
    let signed = try SignedManifest.make(of: digest, signatures: [try sign(digest, "lab")], in: store)
    let other = try store.write(Array("evil".utf8), mediaType: MediaType.kernel)
    let text = String(decoding: try store.read(signed.digest, limit: 1 << 20), as: UTF8.self)
    let good = Digest(of: Array("good".utf8))
    let evil = text.replacingOccurrences(of: good.hexadecimal, with: other.digest.hexadecimal)
    let forged = try store.write(Array(evil.utf8), mediaType: MediaType.manifest)
    #expect { try SignedManifest.open(forged.digest, in: store) } throws: {
      ($0 as? CapsuleError)?.code == .badSignature
    }
  }

  @Test func `a false signature of a trusted key is refused`() throws {
    _ = try keyring.create("lab")
    let digest = try capsule()
    let good = try sign(digest, "lab")
    var bytes = good.bytes
    bytes[10] ^= 1
    let signature = CapsuleSignature(key: good.key, signature: bytes)
    #expect { try SignedManifest.signers(of: digest, [signature], in: store, trusting: keyring) } throws: {
      ($0 as? CapsuleError)?.code == .badSignature
    }
  }

  @Test func `what is no public key is not trusted, and no key is made or trusted twice`() throws {
    let key = try keyring.create("lab")
    #expect(throws: CapsuleError.self) { try keyring.create("lab") }
    #expect(throws: CapsuleError.self) { try keyring.create("../lab") }
    #expect { try keyring.trust("\(directory.path)/keys/lab.key", as: "x") } throws: { "\($0)".contains("private key") }
    #expect { try keyring.trust("\(directory.path)/keys/lab.pub", as: "x") } throws: { "\($0)".contains("already") }
    #expect(throws: CapsuleError.self) { try keyring.trust("/etc/passwd", as: "x") }
    try directory.write(Array("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n".utf8), to: "bad.pem")
    #expect(throws: CapsuleError.self) { try keyring.trust("\(directory.path)/bad.pem", as: "x") }
    #expect(try keyring.delete("lab") == key)
    #expect(try keyring.entries().isEmpty)
    #expect(try directory.run("ls keys") == "")
    #expect(throws: CapsuleError.self) { try keyring.privateKey("lab") }
  }
}
