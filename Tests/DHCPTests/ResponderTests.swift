import DHCPWire
import NetworkTypes
import Synchronization
import Testing

@testable import DHCP

/// A policy whose answers a test sets, and the server's part without sockets.
final class ResponderDesk: ClientPolicy {
  static let server = address("10.0.0.1")

  private struct Answers {
    var bootFile: String?
    var delivery: BootDelivery?
    var exchange: Exchange?
    var reservations: [MACAddress: IPv4Address] = [:]
    var asked: [ClientDescription] = []
  }
  private let answers = Mutex(Answers())
  private let made = Mutex<Responder?>(nil)

  init(
    bootFile: String? = "undionly.kpxe", reservations: [MACAddress: IPv4Address] = [:],
    allowsDynamicBOOTP: Bool = false, delivery: BootDelivery? = nil, mode: DHCPServerConfiguration.Mode = .authoritative
  ) {
    answers.withLock {
      $0.bootFile = bootFile
      $0.delivery = delivery
      $0.reservations = reservations
    }
    let configuration = DHCPServerConfiguration(
      mode: mode, interface: "eth1", serverAddress: Self.server,
      network: .init(
        subnet: IPv4Subnet("10.0.0.0/24")!, pools: [IPv4Range("10.0.0.100-10.0.0.199")!], router: address("10.0.0.254"),
        mtu: 9000, domainSearch: ["cluster.test", "test"], routes: [ClasslessRoute("192.168.0.0/16 via 10.0.0.7")!]),
      relayed: [
        .init(
          subnet: IPv4Subnet("10.2.0.0/16")!, pools: [IPv4Range("10.2.1.1-10.2.1.9")!], router: address("10.2.0.1"))
      ],
      leaseSeconds: 600, nameServers: [address("10.0.0.53")], domain: "cluster.test",
      timeServers: [address("10.0.0.123")], allowsDynamicBOOTP: allowsDynamicBOOTP)
    made.withLock { $0 = Responder(configuration, policy: self, leases: [], isObserved: true) }
  }

  func reservation(for client: ClientDescription) -> IPv4Address? {
    answers.withLock { $0.reservations[client.hardwareAddress] }
  }
  func reserve(_ address: IPv4Address, for card: MACAddress) { answers.withLock { $0.reservations[card] = address } }
  func owner(of address: IPv4Address) -> MACAddress? {
    answers.withLock { $0.reservations.first { $0.value == address }?.key }
  }
  func boot(for client: ClientDescription) -> BootAnswer {
    answers.withLock {
      $0.asked.append(client)
      return BootAnswer(bootFile: $0.bootFile, hostName: "n0000", reason: "a test", delivery: $0.delivery)
    }
  }
  var lastAsked: ClientDescription? { answers.withLock { $0.asked.last } }
  /// What an observer was told last.
  var lastExchange: Exchange? { answers.withLock { $0.exchange } }

  /// What port 4011 answers.
  func bootServerReply(to message: DHCPMessage) throws -> DHCPMessage {
    let received = try DHCPMessage(parsing: message.serialized().span)
    let responder = try #require(made.withLock { $0 })
    let response = try responder.respond(toBootServerRequest: received)
    answers.withLock { $0.exchange = response.exchange }
    return try DHCPMessage(parsing: Array(response.bytes[UDPFrame.headerLength...]).span)
  }

  struct Reply {
    var message: DHCPMessage
    var bytes: [UInt8]
    var destination: ReplyDestination
    var changes: [Lease]
  }

  /// The reply to a message; `nil` for none.
  func reply(to message: DHCPMessage, broadcast: Bool = true, now: Int64 = 1000) throws -> Reply? {
    // As it comes from the wire, not as it was made.
    let received = try DHCPMessage(parsing: message.serialized().span)
    let responder = try #require(made.withLock { $0 })
    var response: Response?
    try responder.respond(to: received, Reception(wasBroadcast: broadcast), now: now) { response = $0 }
    answers.withLock { $0.exchange = response?.exchange }
    guard let response, !response.bytes.isEmpty else { return nil }
    let bytes = Array(response.bytes[UDPFrame.headerLength...])
    return Reply(
      message: try DHCPMessage(parsing: bytes.span), bytes: bytes, destination: response.destination,
      changes: response.changes)
  }
}

func request(
  _ type: DHCPMessageType, from number: UInt64 = 1, _ options: [DHCPOptionCode: [UInt8]] = [:],
  _ change: (inout DHCPMessage) -> Void = { _ in }
) -> DHCPMessage {
  var message = DHCPMessage(operation: .request, hardware: HardwareAddress(card(number)), transaction: 77, seconds: 9)
  message.options.set(.messageType, [type.rawValue])
  for (code, value) in options.sorted(by: { $0.key.rawValue < $1.key.rawValue }) { message.options.set(code, value) }
  change(&message)
  return message
}

func text(_ value: String) -> [UInt8] { Array(value.utf8) }

struct ResponderTests {
  @Test("an OFFER has the lease, its times, the network, and what was asked for")
  func offer() throws {
    let reply = try #require(
      try ResponderDesk().reply(
        to: request(.discover, [.parameterRequestList: [1, 3, 6, 12, 15, 42, 28]])))
    let message = reply.message
    #expect(message.operation == .reply)
    #expect((message.transaction, message.seconds, message.hops) == (77, 0, 0))
    #expect(message.yourAddress == address("10.0.0.100"))
    #expect(message.options.address(.serverIdentifier) == ResponderDesk.server)
    #expect(message.options.unsigned32(.leaseTime) == 600)
    #expect(message.options.unsigned32(.renewalTime) == 300)
    #expect(message.options.unsigned32(.rebindingTime) == 525)
    #expect(message.options.address(.subnetMask) == address("255.255.255.0"))
    #expect(message.options.addresses(.router) == [address("10.0.0.254")])
    #expect(message.options.addresses(.nameServers) == [address("10.0.0.53")])
    #expect(message.options.addresses(.timeServers) == [address("10.0.0.123")])
    #expect(message.options.address(.broadcastAddress) == address("10.0.0.255"))
    #expect(message.options.text(.domainName) == "cluster.test")
    #expect(message.options.text(.hostName) == "n0000")
    #expect(reply.changes.isEmpty)
    #expect(reply.destination == .card(card(1), address("10.0.0.100")))
    #expect(reply.bytes.count >= 300)
    #expect(Array(reply.bytes[240..<243]) == [53, 1, 2])
  }

  @Test("an ACK says the same of the boot as the OFFER (UEFI fails otherwise), and is written first")
  func acknowledgement() throws {
    let desk = ResponderDesk()
    let options: [DHCPOptionCode: [UInt8]] = [.vendorClass: text("PXEClient:Arch:00007"), .clientArchitecture: [0, 7]]
    let offer = try #require(try desk.reply(to: request(.discover, options)))
    let selected = options.merging([
      .requestedAddress: offer.message.yourAddress.bytes, .serverIdentifier: ResponderDesk.server.bytes,
    ]) { $1 }
    let reply = try #require(try desk.reply(to: request(.request, selected)))
    #expect(reply.message.messageType == .acknowledge)
    #expect(reply.message.bootFile == offer.message.bootFile)
    #expect(reply.message.nextServer == offer.message.nextServer)
    for code in [DHCPOptionCode.bootFileName, .tftpServerName, .vendorClass, .vendorSpecific] {
      #expect(reply.message.options[code] == offer.message.options[code])
    }
    #expect(reply.changes.map(\.address) == [offer.message.yourAddress])
  }

  @Test("a client that selects its subnet gets an address there, and the option back (RFC 3011)")
  func subnetSelection() throws {
    let desk = ResponderDesk()
    let wanted = address("10.2.0.0").bytes
    let offer = try #require(try desk.reply(to: request(.discover, [.subnetSelection: wanted])))
    #expect(offer.message.yourAddress == address("10.2.1.1"))
    #expect(offer.message.options[.subnetSelection].map(Array.init) == wanted)
    let selected: [DHCPOptionCode: [UInt8]] = [
      .subnetSelection: wanted, .requestedAddress: offer.message.yourAddress.bytes,
      .serverIdentifier: ResponderDesk.server.bytes,
    ]
    let reply = try #require(try desk.reply(to: request(.request, selected)))
    #expect(reply.message.messageType == .acknowledge)
    #expect(reply.message.options[.subnetSelection].map(Array.init) == wanted)
  }

  @Test("INFORM is answered at the client's address, without an address or lease times")
  func inform() throws {
    let reply = try #require(
      try ResponderDesk().reply(to: request(.inform) { $0.clientAddress = address("10.0.0.7") }))
    #expect(reply.message.messageType == .acknowledge)
    #expect(reply.message.yourAddress == .any)
    #expect(reply.message.options[.leaseTime] == nil)
    #expect(reply.message.options.address(.subnetMask) == address("255.255.255.0"))
    #expect(reply.destination == .address(address("10.0.0.7")))
    #expect(reply.changes.isEmpty)
  }

  @Test("a NAK says why, to everyone, with every address zero")
  func refusal() throws {
    let reply = try #require(
      try ResponderDesk().reply(to: request(.request, [.requestedAddress: [192, 0, 2, 7]])))
    #expect(reply.message.messageType == .refuse)
    #expect(reply.message.options.text(.message) == LeaseReason.wrongNetwork.rawValue)
    #expect(reply.message.options[.leaseTime] == nil)
    #expect((reply.message.yourAddress, reply.message.nextServer) == (.any, .any))
    #expect(reply.destination == .broadcast)
  }

  @Test("a relayed client gets an address of its relay's network; option 82 is echoed last")
  func relayed() throws {
    let information: [UInt8] = [1, 3, 9, 9, 9]
    let reply = try #require(
      try ResponderDesk().reply(
        to: request(.discover, [.relayAgentInformation: information]) { $0.relay = address("10.2.0.1") }))
    #expect(reply.message.yourAddress == address("10.2.1.1"))
    #expect(reply.message.relay == address("10.2.0.1"))
    #expect(reply.message.options.addresses(.router) == [address("10.2.0.1")])
    #expect(reply.message.options.codes.last == .relayAgentInformation)
    #expect(reply.message.options[.relayAgentInformation].map(Array.init) == information)
    #expect(reply.destination == .relay(address("10.2.0.1")))
  }

  @Test("a relayed NAK has the broadcast bit, so that the relay agent does not send it to a lost client's address")
  func relayedRefusal() throws {
    let reply = try #require(
      try ResponderDesk().reply(
        to: request(.request, [.requestedAddress: [192, 0, 2, 7]]) { $0.relay = address("10.2.0.1") }))
    #expect(reply.message.wantsBroadcast)
    #expect(reply.destination == .relay(address("10.2.0.1")))
  }

  @Test("a relay agent's link selection and server identifier override are followed (RFC 3527, 5107)")
  func relayAgentChoices() throws {
    let desk = ResponderDesk()
    let information: [UInt8] = [5, 4, 10, 2, 0, 0, 11, 4, 10, 2, 0, 1]
    func relayed(_ type: DHCPMessageType, _ options: [DHCPOptionCode: [UInt8]] = [:]) -> DHCPMessage {
      request(type, options.merging([.relayAgentInformation: information]) { $1 }) { $0.relay = address("172.16.0.1") }
    }
    let offer = try #require(try desk.reply(to: relayed(.discover)))
    #expect(offer.message.yourAddress == address("10.2.1.1"))
    #expect(offer.message.options.address(.serverIdentifier) == address("10.2.0.1"))
    let selected = relayed(.request, [.requestedAddress: [10, 2, 1, 1], .serverIdentifier: [10, 2, 0, 1]])
    #expect(try desk.reply(to: selected)?.message.messageType == .acknowledge)
  }

  @Test("what no client may send is ignored, each with its reason: nothing to answer is no NAK")
  func ignored() throws {
    let desk = ResponderDesk()
    var reply = request(.discover)
    reply.operation = .reply
    #expect(throws: Ignored.notARequest) { try desk.reply(to: reply) }
    #expect(throws: Ignored.serverMessage) { try desk.reply(to: request(.offer)) }
    #expect(throws: Ignored.incompleteRequest) { try desk.reply(to: request(.request)) }
    // A unicast request from a network that is not ours once ended a well-known server.
    #expect(throws: Ignored.unknownNetwork) {
      try desk.reply(to: request(.discover) { $0.relay = address("172.16.0.1") }, broadcast: false)
    }
    #expect(throws: Ignored.nobody) {
      try desk.reply(to: request(.discover) { $0.hardware = HardwareAddress(.broadcast) })
    }
  }

  @Test("a REQUEST that names another server is not answered")
  func otherServer() throws {
    let message = request(.request, [.requestedAddress: [10, 0, 0, 100], .serverIdentifier: [10, 0, 0, 2]])
    #expect(try ResponderDesk().reply(to: message) == nil)
  }

  @Test("RENEWING is answered at the client's own address")
  func renewing() throws {
    let desk = ResponderDesk()
    let message = request(.request) { $0.clientAddress = address("10.0.0.150") }
    let reply = try #require(try desk.reply(to: message, broadcast: false))
    #expect(reply.message.messageType == .acknowledge)
    #expect(reply.message.clientAddress == address("10.0.0.150"))
    #expect(reply.destination == .address(address("10.0.0.150")))
  }

  @Test("the identities of one card share one address; InfiniBand, without a card, is told apart by option 61")
  func identities() throws {
    let desk = ResponderDesk()
    let offers = try [nil, [1, 2, 3], [255, 9, 9]].map { (identifier: [UInt8]?) in
      try desk.reply(to: request(.discover, identifier.map { [.clientIdentifier: $0] } ?? [:]))?.message.yourAddress
    }
    #expect(Set(offers) == [address("10.0.0.100")])
    func infiniBand(_ identifier: [UInt8]) throws -> ResponderDesk.Reply? {
      try desk.reply(
        to: request(.discover, [.clientIdentifier: identifier]) {
          $0.hardware = HardwareAddress(type: 32, length: 0, upper: 0, lower: 0)
          $0.wantsBroadcast = true
        })
    }
    let first = try #require(try infiniBand([255, 1]))
    #expect(first.destination == .broadcast)
    #expect(try infiniBand([255, 2])?.message.yourAddress != first.message.yourAddress)
    #expect(try infiniBand([255, 1])?.message.yourAddress == first.message.yourAddress)
  }

  @Test("an observer is told of the exchange in words")
  func exchange() throws {
    let desk = ResponderDesk()
    _ = try desk.reply(to: request(.discover, [.vendorClass: text("perseid-stage1")]))
    #expect(desk.lastAsked?.speaker == .perseid)
    #expect(desk.lastAsked?.serverAddress == ResponderDesk.server)
  }
}
