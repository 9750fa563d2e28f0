package import CapsuleFormat
package import StateProtocol

/// That a running node is to take over what is different in another generation of its capsule, and what became of it.
/// In the registry, so that a node which is away for a moment takes it when it is heard of again.
package struct LivesyncOrder: Hashable, Sendable, Codable {
  package enum Outcome: String, Hashable, Sendable, Codable, CaseIterable {
    case done, failed
  }

  package var vnfs: String
  package var ordered: Timestamp
  /// The generation that it runs: the digest of its manifest.
  package var from: Digest
  /// The generation it comes to.
  package var digest: Digest
  package var generation: Int
  /// What it takes over.
  package var blob: Descriptor
  package var hook: String?
  package var hookSeconds: Int
  /// What there is to say besides.
  package var note: String?
  /// `nil` until it is known.
  package var outcome: Outcome?
  package var detail: String?

  package static let stepName = "livesync"

  /// The step of the node's plan.
  package var step: Step {
    Step(
      name: Self.stepName, kind: .livesync, level: "built-in", length: blob.size, digest: blob.digest,
      onFailure: .goOn, timeoutSeconds: hookSeconds,
      livesync: Step.Livesync(generation: digest, number: generation, hook: hook, note: note))
  }
}

/// The body of `POST vnfs/NAME/livesync`: what was made in the content store for running nodes to take over.
package struct OrderLivesync: Hashable, Sendable, Codable {
  /// What nodes of one generation take over.
  package struct Change: Hashable, Sendable, Codable {
    /// The digest of that generation's manifest.
    package var from: Digest
    package var blob: Descriptor
    /// A program in the new root, and the seconds that it has.
    package var hook: String?
    package var hookSeconds: Int
    package var note: String?

    package init(from: Digest, blob: Descriptor, hook: String?, hookSeconds: Int, note: String?) {
      self.from = from
      self.blob = blob
      self.hook = hook
      self.hookSeconds = hookSeconds
      self.note = note
    }
  }

  package var nodes: [String]
  package var generation: Int
  package var changes: [Change]

  package init(nodes: [String], generation: Int, changes: [Change]) {
    self.nodes = nodes
    self.generation = generation
    self.changes = changes
  }
}

/// How a running node stands to its capsule's generations.
package struct LivesyncView: Hashable, Sendable, Codable {
  package enum State: String, Hashable, Sendable, Codable, CaseIterable {
    /// It runs a generation, and nothing else was ordered.
    case running
    /// It is to take another one over.
    case ordered
    case done
    case failed
  }

  package var name: String
  package var state: State
  /// Of what it runs.
  package var digest: String
  @OrNull package var generation: Int?
  /// What it was ordered to come to.
  @OrNull package var target: Int?
  @OrNull package var detail: String?
  @OrNull package var lastContact: Timestamp?
}
