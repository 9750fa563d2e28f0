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
  /// How it came to be, in words, for its history.
  package var origin: String?

  package init(name: String, digest: Digest, origin: String? = nil) {
    self.name = name
    self.digest = digest
    self.origin = origin
  }
}

/// The body of `POST vnfs/NAME/rollback`.
package struct RollBack: Hashable, Sendable, Codable {
  /// The one before the one that boots, where there is none.
  package var generation: Int?

  package init(generation: Int?) {
    self.generation = generation
  }
}

/// The body of `POST vnfs/NAME/clone`.
package struct CloneCapsule: Hashable, Sendable, Codable {
  /// The new capsule's.
  package var name: String
  /// The one that boots, where there is none.
  package var generation: Int?

  package init(name: String, generation: Int? = nil) {
    self.name = name
    self.generation = generation
  }
}
