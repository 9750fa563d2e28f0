import FoundationEssentials
import ServiceLifecycle

/// Server-sent events (HTML standard, section 9.2): one JSON timeline event in each; a comment now and then, so that
/// both ends notice when the other is gone.
enum EventStream {
  /// Seconds between comments.
  private static let keepAliveSeconds = 15

  /// - Throws: `ApplianceError` where no appliance runs.
  static func writing(_ call: AdminCall) throws -> AdminReply.Writing {
    guard !call.isLocal else {
      throw ApplianceError(
        .refused, "No appliance runs on this state directory, so there is nothing to watch. Start it first.")
    }
    let appliance = call.appliance
    let node = call.text("node")
    return { write in
      let (pieces, continuation) = AsyncStream.makeStream(of: [UInt8].self, bufferingPolicy: .bufferingNewest(4096))
      let events = appliance.watch(node: node)
      continuation.yield(Array(": watching\n\n".utf8))
      try await withThrowingTaskGroup(of: Void.self) { tasks in
        tasks.addTask {
          defer { continuation.finish() }
          let encoder = JSONEncoder()
          encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
          for await event in events.cancelOnGracefulShutdown() {
            continuation.yield(Array("data: ".utf8) + (try encoder.encode(event)) + Array("\n\n".utf8))
          }
        }
        tasks.addTask {
          while true {
            try await Task.sleep(for: .seconds(keepAliveSeconds))
            continuation.yield(Array(": still there\n\n".utf8))
          }
        }
        defer { tasks.cancelAll() }
        for await piece in pieces { try await write(piece) }
      }
    }
  }
}
