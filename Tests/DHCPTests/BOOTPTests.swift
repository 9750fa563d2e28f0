import DHCPWire
import NetworkTypes
import Testing

@testable import DHCP

/// Clients older than DHCP: no option 53.
struct BOOTPTests {
  private static let own = address("10.0.0.20")

  private func bootp(from number: UInt64 = 1, _ change: (inout DHCPMessage) -> Void = { _ in }) -> DHCPMessage {
    var message = DHCPMessage(operation: .request, hardware: HardwareAddress(card(number)), transaction: 7)
    change(&message)
    return message
  }

  @Test("a BOOTP client gets the address set aside for it, in 300 bytes, with neither message type nor lease")
  func reserved() throws {
    let desk = ResponderDesk(reservations: [card(1): Self.own])
    let reply = try #require(try desk.reply(to: bootp()))
    #expect(reply.bytes.count == 300)
    #expect(reply.message.yourAddress == Self.own)
    #expect(reply.message.bootFile == text("undionly.kpxe") && reply.message.nextServer == ResponderDesk.server)
    for code in [DHCPOptionCode.messageType, .leaseTime, .renewalTime, .rebindingTime, .serverIdentifier] {
      #expect(!reply.message.options.contains(code))
    }
    #expect(reply.message.options.address(.subnetMask) == address("255.255.255.0"))
    #expect(reply.message.options.addresses(.router) == [address("10.0.0.254")])
    // Its own for ever: nothing to write, nothing to run out.
    #expect(reply.changes.isEmpty)
    #expect(reply.destination == .card(card(1), Self.own))
  }

  @Test("a BOOTP client waits for an address set aside for it that another client has by a lease")
  func leased() throws {
    let desk = ResponderDesk(allowsDynamicBOOTP: true)
    let taken = try #require(try desk.reply(to: bootp(from: 2))).message.yourAddress
    desk.reserve(taken, for: card(1))
    #expect(try desk.reply(to: bootp()) == nil)
    #expect(desk.lastExchange?.reason == LeaseReason.heldByOther.rawValue)
    #expect(try desk.reply(to: bootp(), now: 1601)?.message.yourAddress == taken)
  }

  @Test("a BOOTP client without a reservation gets no address of the pool, and is counted by a reason of its own")
  func noPool() {
    #expect(throws: Ignored.bootp) { try ResponderDesk().reply(to: bootp()) }
    #expect(Ignored.bootp.rawValue == "bootp-without-reservation")
  }

  @Test("where that is allowed it gets one, which is written before the reply leaves, and the same again")
  func pool() throws {
    let desk = ResponderDesk(allowsDynamicBOOTP: true)
    let reply = try #require(try desk.reply(to: bootp()))
    #expect(reply.message.yourAddress == address("10.0.0.100"))
    #expect(reply.changes.map(\.address) == [address("10.0.0.100")] && reply.changes.map(\.state) == [.bound])
    #expect(try desk.reply(to: bootp())?.message.yourAddress == address("10.0.0.100"))
    #expect(try desk.reply(to: bootp(from: 2))?.message.yourAddress != address("10.0.0.100"))
  }

  @Test("a BOOTP client that names another server is left to it")
  func otherServer() throws {
    let desk = ResponderDesk(reservations: [card(1): Self.own])
    #expect(throws: Ignored.otherServer) { try desk.reply(to: bootp { $0.serverName = text("elsewhere") }) }
    #expect(try desk.reply(to: bootp { $0.serverName = text("10.0.0.1") }) != nil)
  }

  @Test("a BOOTP reply goes where RFC 951 wants it: to the relay agent, to everyone, to the card")
  func destinations() throws {
    let desk = ResponderDesk(reservations: [card(1): Self.own, card(2): address("10.2.0.20")])
    #expect(try desk.reply(to: bootp { $0.wantsBroadcast = true })?.destination == .broadcast)
    let relayed = try #require(try desk.reply(to: bootp(from: 2) { $0.relay = address("10.2.0.1") }))
    #expect(relayed.destination == .relay(address("10.2.0.1")))
    #expect(relayed.message.yourAddress == address("10.2.0.20"))
  }

  @Test("the address set aside in another network than the client's is not for this one")
  func wrongNetwork() {
    let desk = ResponderDesk(reservations: [card(1): Self.own])
    #expect(throws: Ignored.bootp) { try desk.reply(to: bootp { $0.relay = address("10.2.0.1") }) }
  }
}
