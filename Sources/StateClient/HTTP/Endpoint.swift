package import NetworkTypes
package import StateProtocol

/// A server by number: a static executable cannot resolve names.
package struct Endpoint: Hashable, Sendable, LosslessStringConvertible {
  package var address: IPv4Address
  package var port: UInt16

  /// The port where no other is written.
  package static let usualPort: UInt16 = 9870

  package init(address: IPv4Address, port: UInt16 = usualPort) {
    self.address = address
    self.port = port
  }

  package init(_ server: NodeRecord.Server) { self.init(address: server.address, port: server.port) }

  /// `10.0.0.1` or `10.0.0.1:9870`.
  package init?(_ description: String) {
    let parts = description.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    guard let first = parts.first, let address = IPv4Address(String(first)) else { return nil }
    self.address = address
    if parts.count == 2 {
      guard let port = UInt16(parts[1]), port > 0 else { return nil }
      self.port = port
    } else {
      port = Self.usualPort
    }
  }

  package var description: String { "\(address):\(port)" }
}
