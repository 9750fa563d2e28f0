import DHCPWire
import NetworkTypes

/// The packets of one exchange with a machine that boots, for whoever looks later for what went wrong.
///
/// IPv4 packets: what was received and sent between them is as it was, but for options that came in
/// several pieces; the headers are made again, as the message's own fields say.
package struct ExchangePackets: Hashable, Sendable {
  package var request: [UInt8]
  /// `nil` for silence.
  package var reply: [UInt8]?

  /// - Parameters:
  ///   - reply: Behind ``DHCPWire/UDPFrame/headerLength`` bytes of room; empty for none.
  ///   - serverPort: Where the server was asked.
  init(
    request: DHCPMessage, reply: [UInt8], to destination: ReplyDestination, server: IPv4Address, serverPort: UInt16
  ) {
    let room = [UInt8](repeating: 0, count: UDPFrame.headerLength)
    let isRelayed = request.relay != .any
    let sender = isRelayed ? request.relay : request.clientAddress
    self.request = Self.packet(
      room + request.serialized(), sender, sender == .any ? .broadcast : server,
      (isRelayed ? DHCPPort.server : DHCPPort.client, serverPort))
    guard !reply.isEmpty else { return }
    let receiver: IPv4Address =
      switch destination {
      case .relay(let address), .address(let address), .card(_, let address): address
      case .broadcast: .broadcast
      }
    let port = if case .relay = destination { DHCPPort.server } else { DHCPPort.client }
    self.reply = Self.packet(reply, server, receiver, (serverPort, port))
  }

  private static func packet(
    _ frame: [UInt8], _ source: IPv4Address, _ destination: IPv4Address, _ ports: (source: UInt16, destination: UInt16)
  ) -> [UInt8] {
    var frame = frame
    UDPFrame(
      sourceCard: MACAddress(rawValue: 0), destinationCard: MACAddress(rawValue: 0), source: source,
      destination: destination, sourcePort: ports.source, destinationPort: ports.destination
    ).writeHeaders(into: &frame)
    // Behind the Ethernet header.
    return Array(frame[14...])
  }
}
