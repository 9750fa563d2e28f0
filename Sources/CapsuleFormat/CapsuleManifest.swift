/// Points to a blob (OCI image specification, descriptor).
package struct Descriptor: Hashable, Sendable, Codable {
  package var mediaType: String
  package var digest: Digest
  /// Bytes.
  package var size: Int64
  package var annotations: [String: String]?

  package init(mediaType: String, digest: Digest, size: Int64, annotations: [String: String]? = nil) {
    self.mediaType = mediaType
    self.digest = digest
    self.size = size
    self.annotations = annotations
  }
}

/// A capsule's manifest: an OCI image manifest that is an artifact of ours. Its digest is the capsule's name.
package struct CapsuleManifest: Hashable, Sendable, Codable {
  package var schemaVersion = 2
  package var mediaType = MediaType.manifest
  package var artifactType = MediaType.capsule
  package var config: Descriptor
  package var layers: [Descriptor]
  package var annotations: [String: String]?

  package init(config: Descriptor, layers: [Descriptor], annotations: [String: String]? = nil) {
    self.config = config
    self.layers = layers
    self.annotations = annotations
  }

  /// The one layer of a media type, `nil` where there is none.
  package func layer(_ mediaType: String) -> Descriptor? {
    layers.first { $0.mediaType == mediaType }
  }

  /// The most layers a manifest may have: each is an open file while a capsule is copied.
  package static let layerLimit = 128
  /// Largest manifest or configuration that is read, in bytes.
  package static let sizeLimit = 4 << 20
}

/// A capsule's configuration blob: what it says of itself.
package struct CapsuleConfig: Hashable, Sendable, Codable {
  /// Lower-case letters, digits, `.`, `_` and `-`, beginning with a letter or digit; at most 64.
  package var name: String
  /// The name of the kernel release inside: `6.1.0-37-cloud-amd64`.
  package var kernelRelease: String
  /// `amd64` or `arm64`.
  package var architecture: String
  /// PRETTY_NAME of the tree's os-release.
  package var operatingSystem: String?
  /// Words for the kernel command line that the capsule wants.
  package var kernelArguments: String
  /// What the capsule's maker calls it: `2.1`.
  package var version: String?
  /// How a node can have its root (`ram`, `overlay`), the default first; `nil` in older capsules: `ram`.
  package var rootModes: [String]?
  /// Bytes of the uncompressed tar stream, and of the file contents in it.
  package var rootBytes: Int64
  /// Entries in the tar stream.
  package var rootEntries: Int64

  package init(
    name: String, kernelRelease: String, architecture: String, operatingSystem: String?, kernelArguments: String,
    rootBytes: Int64, rootEntries: Int64
  ) {
    self.name = name
    self.kernelRelease = kernelRelease
    self.architecture = architecture
    self.operatingSystem = operatingSystem
    self.kernelArguments = kernelArguments
    self.rootBytes = rootBytes
    self.rootEntries = rootEntries
  }
}
