package import CapsuleFormat
import FoundationEssentials

/// A signature of a capsule, and the key that it claims to be made with.
package struct CapsuleSignature: Hashable, Sendable, Codable {
  /// The key's identifier.
  package var key: Digest
  /// 64 bytes in base64, of the bytes of the capsule's manifest.
  package var signature: String

  package init(key: Digest, signature: [UInt8]) {
    self.key = key
    self.signature = Data(signature).base64EncodedString()
  }

  package var bytes: [UInt8] { Data(base64Encoded: signature).map { Array($0) } ?? [] }

  package static let length = 64
}

/// How signatures travel with a capsule.
///
/// What is signed is the capsule's manifest, byte by byte. A signed capsule has another manifest around it: the same
/// with the signed one, and each signature, as further layers. So whatever carries manifests and blobs carries
/// signatures, and the bytes that openssl needs are files of the image; and where the signatures are taken off
/// again, the capsule has the digest that it always had.
package enum SignedManifest {
  /// The annotation of a signature's layer with the identifier of its key.
  package static let keyAnnotation = "org.perseid.signature.key"
  /// More signatures are not looked at.
  private static let signatureLimit = 16

  /// The manifest of a capsule with its signatures, stored with all that it names.
  ///
  /// - Returns: Its descriptor.
  package static func make(
    of digest: Digest, signatures: [CapsuleSignature], in store: ContentStore
  ) throws -> Descriptor {
    let bytes = try store.read(digest, limit: CapsuleManifest.sizeLimit)
    var manifest = try StoredCapsule.manifest(digest, in: store)
    manifest.layers.append(Descriptor(mediaType: MediaType.signedManifest, digest: digest, size: Int64(bytes.count)))
    for signature in signatures {
      var layer = try store.write(signature.bytes, mediaType: MediaType.signature)
      layer.annotations = [keyAnnotation: signature.key.description]
      manifest.layers.append(layer)
    }
    return try store.write(try canonicalJSON(manifest), mediaType: MediaType.manifest)
  }

  /// Takes the signatures off a manifest.
  ///
  /// - Parameter digest: Of a manifest whose blobs are all in the store.
  /// - Returns: The capsule as it was before it was signed, and the signatures, which are not checked yet; `digest`
  ///   itself and none where it is not signed.
  /// - Throws: `CapsuleError` with code `badSignature` where the manifest says more or less than the one in it.
  package static func open(
    _ digest: Digest, in store: ContentStore
  ) throws(CapsuleError) -> (capsule: Digest, signatures: [CapsuleSignature]) {
    let outer = try StoredCapsule.manifest(digest, in: store)
    let added = outer.layers.filter { [MediaType.signedManifest, MediaType.signature].contains($0.mediaType) }
    if added.isEmpty { return (digest, []) }
    let inner = added.filter { $0.mediaType == MediaType.signedManifest }
    guard let signed = inner.first, inner.count == 1 else {
      throw bad(digest, "it names \(inner.count) signed manifests instead of one")
    }
    var rest = outer
    rest.layers.removeAll { added.contains($0) }
    guard try StoredCapsule.manifest(signed.digest, in: store) == rest else {
      throw bad(digest, "what it names is not what the signed manifest in it names")
    }
    let layers = added.filter { $0.mediaType == MediaType.signature }
    guard layers.count <= signatureLimit else { throw bad(digest, "it has more than \(signatureLimit) signatures") }
    var signatures: [CapsuleSignature] = []
    for layer in layers {
      guard layer.size == CapsuleSignature.length, let key = layer.annotations?[keyAnnotation].flatMap({ Digest($0) })
      else { throw bad(digest, "a signature in it is none of an Ed25519 key") }
      signatures.append(
        CapsuleSignature(key: key, signature: try store.read(layer.digest, limit: CapsuleSignature.length)))
    }
    return (signed.digest, signatures)
  }

  /// The keys of a keyring that have signed a capsule.
  ///
  /// - Throws: `CapsuleError` with code `badSignature` where a signature claims to be of one of these keys and is not.
  package static func signers(
    of digest: Digest, _ signatures: [CapsuleSignature], in store: ContentStore, trusting keyring: Keyring
  ) throws(CapsuleError) -> [Keyring.Entry] {
    if signatures.isEmpty { return [] }
    let bytes = try store.read(digest, limit: CapsuleManifest.sizeLimit)
    let known = try keyring.entries()
    var signers: [Keyring.Entry] = []
    for signature in signatures {
      guard let known = known.first(where: { $0.key.identifier == signature.key }) else { continue }
      guard known.key.isSignature(signature.bytes, of: bytes) else {
        throw bad(digest, "its signature with the key \(known.name) is false")
      }
      if !signers.contains(known) { signers.append(known) }
    }
    return signers
  }

  /// Signs a capsule, besides whoever has signed it before.
  ///
  /// - Returns: All signatures.
  package static func sign(
    _ digest: Digest, _ signatures: [CapsuleSignature], in store: ContentStore, with name: String, of keyring: Keyring
  ) throws -> [CapsuleSignature] {
    let identifier = try keyring.entry(name).key.identifier
    let bytes = try store.read(digest, limit: CapsuleManifest.sizeLimit)
    let signature = CapsuleSignature(
      key: identifier, signature: try keyring.privateKey(name).signature(of: bytes))
    return signatures.filter { $0.key != identifier } + [signature]
  }

  private static func bad(_ digest: Digest, _ reason: String) -> CapsuleError {
    CapsuleError(
      .badSignature, "The capsule \(digest) is not to be trusted: \(reason)",
      remedy: "Ask whoever it comes from for it once more, by another way")
  }
}
