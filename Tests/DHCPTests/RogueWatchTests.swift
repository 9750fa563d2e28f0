import DHCPWire
import NetworkTypes
import Testing

@testable import DHCP

struct RogueWatchTests {
  private static let headers = UDPFrame(
    sourceCard: card(9), destinationCard: .broadcast, source: address("10.0.0.9"), destination: .broadcast,
    sourcePort: 67, destinationPort: 68)

  private func server(
    _ type: DHCPMessageType?, identifier: IPv4Address? = nil, _ change: (inout DHCPMessage) -> Void = { _ in }
  ) -> OtherServer? {
    var message = DHCPMessage(operation: .reply, hardware: HardwareAddress(card(1)), transaction: 1)
    if let type { message.options.set(.messageType, [type.rawValue]) }
    if let identifier { message.options.set(.serverIdentifier, identifier.bytes) }
    change(&message)
    return OtherServer(reply: message, in: Self.headers, own: ResponderDesk.server)
  }

  @Test(
    "another server is known by its identifier and its card",
    arguments: [DHCPMessageType.offer, .acknowledge, .refuse])
  func known(_ type: DHCPMessageType) {
    #expect(server(type, identifier: address("10.0.0.2")) == OtherServer(address: address("10.0.0.2"), card: card(9)))
  }

  @Test("a reply without identifier, as in BOOTP, is known by the address it comes from")
  func bootp() {
    #expect(server(nil) == OtherServer(address: address("10.0.0.9"), card: card(9)))
  }

  @Test("our own words from a relay agent, and what is no reply, are no other server")
  func none() {
    #expect(server(.offer, identifier: ResponderDesk.server) == nil)
    #expect(server(.discover) == nil)
    #expect(server(.offer) { $0.operation = .request } == nil)
  }

  @Test("a server is reported once a minute, each for itself")
  func onceAMinute() {
    var watch = RogueWatch()
    let first = OtherServer(address: address("10.0.0.2"), card: card(2))
    let second = OtherServer(address: address("10.0.0.3"), card: card(3))
    let heard = [(first, 0), (first, 59), (second, 59), (first, 60)].map { watch.isNews($0.0, at: $0.1) }
    #expect(heard == [true, false, true, true])
  }

  @Test("a machine that pretends to be many servers gets sixteen reports a minute")
  func flood() {
    var watch = RogueWatch()
    var reports = 0
    for second in 0..<120 {
      for number in 0..<100 as Range<UInt64> {
        let server = OtherServer(address: .broadcast, card: card(UInt64(second) * 100 + number))
        if watch.isNews(server, at: second) { reports += 1 }
      }
    }
    #expect(reports == 32)
  }
}
