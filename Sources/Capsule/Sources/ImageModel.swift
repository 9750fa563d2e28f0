import CapsuleFormat
import FoundationEssentials

/// The documents of container images, as far as a tree needs them (OCI image specification 1.1; Docker Image Manifest V2,
/// Schema 2; Docker Image Specification 1.2, "Combined Image JSON + Filesystem Changeset Format").
enum ImageModel {
  static let sizeLimit = 4 << 20
  static let indexTypes: Set = [
    "application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json",
  ]
  static let manifestTypes: Set = [
    "application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json",
  ]
  static let referenceName = "org.opencontainers.image.ref.name"

  struct Platform: Decodable {
    var architecture: String
    var os: String
  }

  struct Reference: Decodable {
    var mediaType: String
    var digest: String
    var size: Int64
    var platform: Platform?
    var annotations: [String: String]?

    /// As Docker names it, and as OCI does.
    var name: String? { annotations?["io.containerd.image.name"] ?? annotations?[ImageModel.referenceName] }
  }

  struct Index: Decodable {
    var manifests: [Reference]
  }

  struct Manifest: Decodable {
    var artifactType: String?
    var config: Reference
    var layers: [Reference]
  }

  struct Config: Decodable {
    struct RootFileSystem: Decodable {
      var type: String
      var differences: [String]

      enum CodingKeys: String, CodingKey {
        case type
        case differences = "diff_ids"
      }
    }

    var architecture: String
    var os: String
    var rootfs: RootFileSystem
  }

  /// One image in the `manifest.json` of `docker save`.
  struct Saved: Decodable {
    var config: String
    var tags: [String]?
    var layers: [String]

    enum CodingKeys: String, CodingKey {
      case config = "Config"
      case tags = "RepoTags"
      case layers = "Layers"
    }
  }
}
