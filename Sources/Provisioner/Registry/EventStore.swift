/// Where timelines are kept: appended in batches, read rarely, dropped boot by boot.
package protocol EventStore: Sendable {
  /// Events of known nodes, in order. Returns at once.
  /// - Parameter done: Called when they, and all that was appended before, are on the disk; with no events too.
  func append(_ events: [TimelineEvent], done: @escaping @Sendable (Result<Void, any Error>) -> Void)
  /// - Parameter boot: The last boot that has events, where `nil`.
  func events(node: String, boot: String?) async throws -> [TimelineEvent]
  /// Drops a node's timelines but those of its last boots; all of them where `keepingBoots` is 0.
  func trimEvents(node: String, keepingBoots: Int) async throws
  /// A node has another name now.
  func renameEvents(node: String, to name: String) async throws
}
