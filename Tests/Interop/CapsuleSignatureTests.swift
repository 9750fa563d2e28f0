import Foundation
import Lab
import Testing

/// From a vendor through a registry to a customer, with the verbs.
@Suite struct CapsuleSignatureTests {
  private struct Manifest: Decodable {
    struct Layer: Decodable {
      var mediaType: String
      var digest: String
    }
    var layers: [Layer]

    /// The path of the blob of a kind in an unpacked image layout.
    func blob(_ kind: String) throws -> String {
      let layer = try #require(layers.first { $0.mediaType == "application/vnd.perseid.capsule.\(kind)" })
      return "blobs/sha256/" + layer.digest.dropFirst("sha256:".count)
    }
  }

  private struct Index: Decodable {
    struct Entry: Decodable { var digest: String }
    var manifests: [Entry]
  }

  private func decode<Value: Decodable>(_ path: String) throws -> Value {
    try JSONDecoder().decode(Value.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
  }

  /// Leaves `forged.capsule`: the image in `layout` with another signature, and all digests put right.
  private static let forge = """
    cp -a layout forged; cd forged
    put() { new=$(sha256sum "$1" | cut -d' ' -f1); mv "$1" blobs/sha256/$new; }
    head -c 64 /dev/urandom >changed; put changed; signature=$new
    sed "s/$SIGNATURE/$signature/" blobs/sha256/$MANIFEST >changed; put changed
    sed -i "s/$MANIFEST/$new/" index.json
    tar -cf ../forged.capsule oci-layout index.json blobs
    """

  @Test(.enabled(if: geteuid() == 0, "owners of files take root"), .timeLimit(.minutes(20)))
  func `a registry carries a signature that openssl checks, and the policy lets nothing else in`() async throws {
    let vendor = try CapsulePlace()
    let customer = try CapsulePlace(settings: "capsules: { requireSignature: true }")
    defer { for place in [vendor, customer] { try? FileManager.default.removeItem(atPath: place.directory) } }
    let imported = try await vendor.vnfs("import", try Cache.initTree("busybox"), "--name", "acme")
    #expect(imported.succeeded, "\(imported.output)")
    #expect(try await vendor.perseid(["key", "create", "maker"]).succeeded)
    #expect(try await vendor.perseid(["key", "list"]).output.contains("maker"))
    for arguments in [["plain.capsule"], ["a.capsule", "--sign", "maker"]] {
      let exported = try await vendor.perseid(
        ["vnfs", "export", "acme", "\(vendor.directory)/\(arguments[0])"] + arguments.dropFirst())
      #expect(exported.succeeded, "\(exported.output)")
    }
    let (registry, port) = try await vendor.startRegistry()
    try await vendor.shell(
      """
      skopeo copy -q oci-archive:a.capsule docker://127.0.0.1:\(port)/acme/compute:1
      skopeo copy -q docker://127.0.0.1:\(port)/acme/compute:1 oci-archive:pulled.capsule
      mkdir layout; tar -C layout -xf pulled.capsule
      """)
    _ = await registry.stop()

    // The bytes that the documentation names.
    let layout = vendor.directory + "/layout/"
    let index: Index = try decode(layout + "index.json")
    let outer = try #require(index.manifests.first).digest.dropFirst("sha256:".count)
    let manifest: Manifest = try decode(layout + "blobs/sha256/\(outer)")
    let signature = try manifest.blob("signature.ed25519.v1")
    let verify = "openssl pkeyutl -verify -pubin -inkey state/keys/maker.pub -rawin"
    try await vendor.shell(
      "\(verify) -in layout/\(try manifest.blob("manifest.v1+json")) -sigfile layout/\(signature)")
    try await vendor.shell("! \(verify) -in layout/blobs/sha256/\(outer) -sigfile layout/\(signature)")

    func refused(_ file: String, _ words: String) async throws {
      let ended = try await customer.vnfs("import", "\(vendor.directory)/\(file)")
      #expect(!ended.succeeded && ended.output.contains(words), "\(ended.output)")
      #expect(try await customer.shell("find state/blobs state/tmp -type f ! -path state/blobs/lock") == "")
    }
    try await refused("plain.capsule", "The capsule is not signed, and capsules.requireSignature in")
    try await refused("pulled.capsule", "signed with keys that are not trusted here")
    let trusted = try await customer.perseid(["key", "trust", "\(vendor.directory)/state/keys/maker.pub"])
    #expect(trusted.succeeded, "\(trusted.output)")
    try await vendor.shell(
      "MANIFEST=\(outer); SIGNATURE=\(signature.split(separator: "/").last ?? "")\n" + Self.forge)
    try await refused("forged.capsule", "its signature with the key maker is false")

    let taken = try await customer.vnfs("import", "\(vendor.directory)/pulled.capsule")
    #expect(taken.succeeded && taken.output.contains("maker"), "\(taken.output)")
    #expect(try await customer.digest("acme") == vendor.digest("acme"))
  }
}
