/// The names in an OCI image layout (OCI image specification, image layout), and its index.
package enum ImageLayout {
  package static let marker = "oci-layout"
  package static let markerContent = #"{"imageLayoutVersion":"1.0.0"}"#
  package static let index = "index.json"

  package static func path(of digest: Digest) -> String { "blobs/sha256/\(digest.hexadecimal)" }

  /// The digest that a blob's path names; `nil` for all other paths.
  package static func digest(path: String) -> Digest? {
    path.hasPrefix("blobs/sha256/") ? Digest(hexadecimal: String(path.dropFirst(13))) : nil
  }

  /// `index.json`: the manifests in the layout.
  package struct Index: Hashable, Sendable, Codable {
    package var schemaVersion = 2
    package var mediaType: String? = "application/vnd.oci.image.index.v1+json"
    package var manifests: [Descriptor]

    package init(manifests: [Descriptor]) {
      self.manifests = manifests
    }
  }
}
