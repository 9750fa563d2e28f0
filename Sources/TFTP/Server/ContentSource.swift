package import NetworkTypes

/// What the server asks of whoever has the files: the content for this name and this client.
/// Names are looked up, never opened as paths.
package protocol ContentSource: Sendable {
  /// - Parameter name: The name without what firmware adds to it (see `RequestedName`): slashes only between its parts,
  ///   no garbage at its end, never `..`. Where a name with upper-case letters is not found, its lower case is asked next.
  /// - Parameter server: Our address as this client asked for it; what it is sent may name it.
  func content(named name: String, for client: IPv4Address, at server: IPv4Address) async -> ContentAnswer
}

package enum ContentAnswer: Sendable {
  case content(Content)
  /// A file that may change at any time: the transfer ends with ERROR 0 then.
  case file(OpenFile)
  /// ERROR 1 with this text, which a person may see on the machine's console.
  case notFound(String)
  /// ERROR 0 with this text: it exists, but not for this client or not now.
  case refused(String)
}

/// Told of transfers as they happen, on the server's own path: must return at once.
package protocol TransferObserver: Sendable {
  func observed(_ event: TransferEvent)
}

/// One thing that happened in a transfer.
package struct TransferEvent: Hashable, Sendable {
  package enum Kind: Hashable, Sendable {
    case started
    /// It goes on: told once a second at most.
    case progress
    /// The last block was acknowledged, or sent to a client that closes without the last ACK.
    case finished
    /// The client closed with ERROR 8 after reading the size: a probe, not a failure.
    case probed
    /// It ended early; the reason for a person.
    case failed(String)
    /// No such content; the reason for a person.
    case refused(String)
  }

  package var kind: Kind
  package var name: String
  package var client: IPv4Address
  /// Bytes of content acknowledged so far.
  package var bytes: Int
  /// Bytes of content as a whole; 0 where there is none.
  package var size: Int
  /// Seconds since the request.
  package var seconds: Double
  /// Blocks sent again.
  package var retransmissions: Int
  package var blockSize: Int
  package var windowSize: Int

  package init(
    kind: Kind, name: String, client: IPv4Address, bytes: Int, size: Int = 0, seconds: Double, retransmissions: Int,
    blockSize: Int, windowSize: Int
  ) {
    self.kind = kind
    self.name = name
    self.client = client
    self.bytes = bytes
    self.size = size
    self.seconds = seconds
    self.retransmissions = retransmissions
    self.blockSize = blockSize
    self.windowSize = windowSize
  }
}
