import DHCPWire
import NetworkTypes
import Testing

/// RFC 2131, section 4.1, sentence by sentence.
struct ReplyDestinationTests {
  private func request(_ change: (inout DHCPMessage) -> Void = { _ in }) -> DHCPMessage {
    var message = DHCPMessage(operation: .request, hardware: HardwareAddress(card(1)), transaction: 1)
    change(&message)
    return message
  }

  private let yours = address("10.0.0.9")

  @Test("with giaddr every reply goes to the relay agent, a NAK too", arguments: [DHCPMessageType.offer, .refuse])
  func relayed(_ type: DHCPMessageType) {
    let message = request {
      $0.relay = address("10.2.0.1")
      $0.clientAddress = address("10.2.0.9")
      $0.wantsBroadcast = true
    }
    #expect(ReplyDestination(replyTo: message, type: type, address: yours) == .relay(address("10.2.0.1")))
  }

  @Test("without giaddr a NAK goes to everyone, also where the client has an address")
  func refusal() {
    let message = request { $0.clientAddress = address("10.0.0.8") }
    #expect(ReplyDestination(replyTo: message, type: .refuse, address: .any) == .broadcast)
  }

  @Test("a client that has an address is answered there, whatever its broadcast bit says")
  func clientAddress() {
    let message = request {
      $0.clientAddress = address("10.0.0.8")
      $0.wantsBroadcast = true
    }
    #expect(ReplyDestination(replyTo: message, type: .acknowledge, address: yours) == .address(address("10.0.0.8")))
  }

  @Test("a client without an address that sets the broadcast bit is answered by broadcast")
  func broadcastBit() {
    let message = request { $0.wantsBroadcast = true }
    #expect(ReplyDestination(replyTo: message, type: .offer, address: yours) == .broadcast)
  }

  @Test("a client without an address is answered at its card, to the address it gets")
  func linkLayer() {
    #expect(ReplyDestination(replyTo: request(), type: .offer, address: yours) == .card(card(1), yours))
  }

  @Test("InfiniBand, which has no card to name, is answered by broadcast")
  func infiniBand() {
    let message = request { $0.hardware = HardwareAddress(type: 32, length: 0, upper: 0, lower: 0) }
    #expect(ReplyDestination(replyTo: message, type: .offer, address: yours) == .broadcast)
  }
}
