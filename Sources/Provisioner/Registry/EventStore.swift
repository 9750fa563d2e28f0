/// Where timelines are kept: appended in batches, read rarely, dropped boot by boot.
package protocol EventStore: Sendable {
  /// Events of known nodes, in order. On return they are on the disk.
  func append(_ events: [TimelineEvent]) async throws
  /// - Parameter boot: The last boot that has events, where `nil`.
  func events(node: String, boot: String?) async throws -> [TimelineEvent]
  /// Of these boots of a node; of all, where `nil`.
  func deleteEvents(node: String, boots: [String]?) async throws
}
