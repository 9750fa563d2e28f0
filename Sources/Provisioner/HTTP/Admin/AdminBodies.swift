package import CapsuleFormat

/// The body of `PATCH nodes`.
package struct SetNodes: Hashable, Sendable, Codable {
  /// Patterns.
  package var nodes: [String]
  package var key: String
  /// Empty: back to what the group or the defaults say.
  package var value: String

  package init(nodes: [String], key: String, value: String) {
    self.nodes = nodes
    self.key = key
    self.value = value
  }
}

/// The body of `PATCH groups/NAME`.
package struct SetGroup: Hashable, Sendable, Codable {
  package var key: String
  /// Empty: back to what the defaults say.
  package var value: String

  package init(key: String, value: String) {
    self.key = key
    self.value = value
  }
}

/// The body of `POST vnfs`: a capsule whose blobs are in the content store gets its name.
package struct RegisterCapsule: Hashable, Sendable, Codable {
  package var name: String
  /// Of the manifest.
  package var digest: Digest

  package init(name: String, digest: Digest) {
    self.name = name
    self.digest = digest
  }
}
