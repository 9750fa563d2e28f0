import Foundation
import Lab

/// The digests of a capsule's root file system and of its frame index, in hexadecimal digits.
func rootParts(
  _ appliance: Appliance, of name: String = "debian-12"
) async throws -> (blob: String, index: String) {
  struct Capsule: Decodable { var digest: String }
  struct Manifest: Decodable {
    struct Layer: Decodable {
      var mediaType: String
      var digest: String
    }
    var layers: [Layer]
  }
  let digest = try await appliance.json(Capsule.self, "vnfs", "show", name).digest
  let path = "\(appliance.state)/blobs/\(digest.replacing(":", with: "/"))"
  let manifest = try JSONDecoder().decode(Manifest.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
  func layer(_ type: String) throws -> String {
    guard let found = manifest.layers.first(where: { $0.mediaType == type }) else {
      throw LabError("the capsule has no \(type)")
    }
    return String(found.digest.split(separator: ":").last ?? "")
  }
  return (
    try layer("application/vnd.oci.image.layer.v1.tar+zstd"),
    try layer("application/vnd.perseid.capsule.frameindex.v1")
  )
}
