import NIOCore
import NIOHTTP1
import NetworkTypes

/// One accepted connection, as the task that serves it sees it: requests come one at a time, the next
/// when the answer to the last one has left.
struct NodeConnection: Sendable {
  let channel: any Channel
  let requests: AsyncStream<CollectedRequest>
  let client: IPv4Address
  /// The address and port the client connected to.
  let server: IPv4Address
  let port: Int
}

/// A request with its whole body.
struct CollectedRequest: Sendable {
  var head: HTTPRequestHead
  var body: [UInt8]
}

/// Fired down the pipeline when the server stops: an idle connection ends at once, a busy one after
/// the answer it is sending, or at the deadline.
struct ConnectionWindDown: Sendable {
  var seconds: Int64
}
