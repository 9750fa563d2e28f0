package import DHCPWire
package import NetworkTypes

/// Another DHCP server on the segment.
package struct OtherServer: Hashable, Sendable {
  /// What it calls itself (option 54), or where it sends from.
  package var address: IPv4Address
  /// The card its replies come from: its own, or a relay agent's.
  package var card: MACAddress

  package init(address: IPv4Address, card: MACAddress) {
    self.address = address
    self.card = card
  }

  /// Whose reply this is.
  /// - Parameter own: Our address: a relay agent may pass on what we said ourselves.
  /// - Returns: `nil` for what is no server's reply, or our own.
  package init?(reply message: DHCPMessage, in frame: UDPFrame, own: IPv4Address) {
    guard message.operation == .reply, frame.sourceCard.isUnicast else { return nil }
    switch message.messageType {
    // BOOTP (no type): its replies give addresses too.
    case .offer, .acknowledge, .refuse, nil: break
    case .discover, .request, .decline, .release, .inform: return nil
    }
    let address = message.serverIdentifier ?? frame.source
    guard address != own else { return nil }
    self.init(address: address, card: frame.sourceCard)
  }
}

/// Which other servers were heard, and when they are news again.
struct RogueWatch: Sendable {
  /// Seconds between two reports of one server.
  static let pause = 60
  /// Servers remembered, and so the most that are reported within ``pause``, however many a hostile
  /// machine pretends to be.
  static let maximumServers = 16

  private var reported: [OtherServer: Int] = [:]

  /// Whether to report a server that was heard.
  /// - Parameter now: Seconds on a clock that only goes forward.
  mutating func isNews(_ server: OtherServer, at now: Int) -> Bool {
    if let before = reported[server], now - before < Self.pause { return false }
    if reported.count >= Self.maximumServers { reported = reported.filter { now - $0.value < Self.pause } }
    guard reported[server] != nil || reported.count < Self.maximumServers else { return false }
    reported[server] = now
    return true
  }
}
