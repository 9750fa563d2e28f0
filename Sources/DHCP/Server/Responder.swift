package import DHCPWire
package import NetworkTypes
import Synchronization

/// What came in, and how.
package struct Reception: Sendable {
  /// Whether it was sent to everyone: a REQUEST from an address in use then is REBINDING, not RENEWING.
  package var wasBroadcast: Bool

  package init(wasBroadcast: Bool) {
    self.wasBroadcast = wasBroadcast
  }
}

/// A reply on its way, or changes to write without one.
///
/// An object, since it goes from queue to queue.
package final class Response: Sendable {
  /// The message behind ``DHCPWire/UDPFrame/headerLength`` bytes of room; empty for no reply.
  package let bytes: [UInt8]
  package let destination: ReplyDestination
  /// To be on the disk before the reply leaves.
  package let changes: [Lease]
  /// For the observer, once the reply has left.
  package let exchange: Exchange?
  /// What the reply is, `nil` for none.
  package let type: DHCPMessageType?
  /// No reply since every address is taken.
  package let isPoolExhausted: Bool
  /// An offer of an address that nobody probed.
  package let isUnprobed: Bool

  init(
    bytes: [UInt8], destination: ReplyDestination, changes: [Lease] = [], exchange: Exchange? = nil,
    type: DHCPMessageType? = nil, isPoolExhausted: Bool = false, isUnprobed: Bool = false
  ) {
    self.bytes = bytes
    self.destination = destination
    self.changes = changes
    self.exchange = exchange
    self.type = type
    self.isPoolExhausted = isPoolExhausted
    self.isUnprobed = isUnprobed
  }
}

/// Why a message was not answered, where that is nothing to tell an observer of.
package enum Ignored: String, Error, Hashable, Sendable {
  /// A server's message.
  case notARequest = "not-a-request"
  /// BOOTP (no message type) from a client without a reservation, where addresses of the pool are not
  /// for BOOTP.
  case bootp = "bootp-without-reservation"
  /// BOOTP for another server (`sname` names it).
  case otherServer = "bootp-other-server"
  /// A message only servers send.
  case serverMessage = "server-message"
  /// Neither an Ethernet address nor a client identifier.
  case nobody = "no-client"
  /// From a network that is not served.
  case unknownNetwork = "unknown-network"
  /// A REQUEST with neither address nor server.
  case incompleteRequest = "incomplete-request"
  /// Not a boot client's, where only the boot is ours to answer.
  case notBooting = "not-a-boot-client"
}

/// Turns messages into replies: asks the policy, lets the lease machine decide, writes the reply.
/// Sockets, clock and disk stand outside.
package final class Responder: Sendable {
  let configuration: DHCPServerConfiguration
  private let subnets: [IPv4SubnetIndex]
  let composer: ReplyComposer
  let policy: any ClientPolicy
  let isObserved: Bool
  private let book: AddressBook
  private let machine: Mutex<LeaseMachine>

  /// Free addresses of each network that are probed ahead: a room full of machines that begin at once.
  private static let reserveSize = 256

  private struct IPv4SubnetIndex: Sendable {
    var lower: UInt32
    var upper: UInt32
  }

  /// - Parameter isObserved: Whether ``Response/exchange`` is wanted.
  package init(
    _ configuration: DHCPServerConfiguration, policy: any ClientPolicy, leases: [Lease], isObserved: Bool
  ) {
    self.configuration = configuration
    self.policy = policy
    self.isObserved = isObserved
    book = AddressBook(
      owner: { policy.owner(of: $0) }, isKnown: { policy.isKnown($0) }, waiting: { policy.waiting })
    composer = ReplyComposer(configuration)
    subnets = configuration.networks.map {
      IPv4SubnetIndex(lower: $0.subnet.network.rawValue, upper: $0.subnet.broadcast.rawValue)
    }
    machine = Mutex(
      LeaseMachine(
        networks: configuration.networks.map { network in
          LeaseNetwork(
            subnet: network.subnet, ranges: network.pools,
            excluded: Set([configuration.serverAddress] + (network.router.map { [$0] } ?? [])))
        }, leases: leases, leaseSeconds: Int64(configuration.leaseSeconds),
        reserveSize: configuration.probesConflicts ? Self.reserveSize : 0))
  }

  /// The lease on record for an address.
  package func lease(at address: IPv4Address) -> Lease? {
    machine.withLock { $0.lease(at: address) }
  }

  /// Lets something be done with the leases, as ``LeaseMachine`` and its book allow; short, since every
  /// packet waits for it.
  func withMachine<Answer: Sendable>(_ body: (LeaseMachine, AddressBook) -> Answer) -> Answer {
    machine.withLock { body($0, book) }
  }

  /// Answers a message.
  ///
  /// - Parameters:
  ///   - now: Seconds since 1970-01-01 UTC.
  ///   - enqueue: Called under the lock that orders decisions, so that changes are written in the
  ///     order in which they were decided.
  /// - Throws: ``Ignored``.
  package func respond(
    to message: DHCPMessage, _ reception: Reception, now: Int64, enqueue: (Response) -> Void
  ) throws(Ignored) {
    guard message.operation == .request else { throw .notARequest }
    let type = message.messageType
    switch type {
    case .offer, .acknowledge, .refuse: throw .serverMessage
    case .discover, .request, .decline, .release, .inform, nil: break
    }
    if !configuration.givesAddresses { return enqueue(try proxied(message, type)) }
    guard let network = network(of: message) else { throw .unknownNetwork }
    guard var holder = LeaseHolder(message),
      var client = ClientDescription(message, serverAddress: configuration.serverAddress)
    else { throw .nobody }
    if case .identifier = holder, let card = policy.card(of: client) {
      // A known machine without an Ethernet address: from here on it is the card it is known by.
      client.hardwareAddress = card
      holder = .hardware(card)
    }

    guard let type else {
      return try answerBOOTP(message, client, holder, network, now, enqueue)
    }
    if type == .inform {
      enqueue(informed(message, type, client, network))
      return
    }
    let event = try event(type, message, reception)
    let leaseClient = LeaseClient(
      holder: holder, hostName: client.hostName, reservation: policy.reservation(for: client))
    // Asked outside the lock; who declines, releases or chose another server gets no boot.
    let boot: BootAnswer? =
      switch event {
      case .discover, .select, .reboot, .renew, .rebind: policy.boot(for: client)
      case .selectOther, .decline, .release: nil
      }
    machine.withLock { machine in
      let decision = machine.handle(
        event, from: leaseClient, network: network, now: now, book: book(for: leaseClient))
      enqueue(response(to: message, type, client, network, decision, boot))
    }
  }

  /// The book for one client: what is set aside for it is no other's, by whatever it is known.
  private func book(for client: LeaseClient) -> AddressBook {
    guard let own = client.reservation else { return book }
    var book = book
    book.owner = { [policy] in $0 == own ? nil : policy.owner(of: $0) }
    return book
  }

  // MARK: BOOTP

  /// RFC 951 and RFC 1534: a reply without lease. An address that is set aside for the client is its own
  /// for ever, and nothing has to be written; one of the pool, where that is allowed, is leased as to
  /// any other client, and counts as used for as long.
  private func answerBOOTP(
    _ message: DHCPMessage, _ client: ClientDescription, _ holder: LeaseHolder, _ network: Int, _ now: Int64,
    _ enqueue: (Response) -> Void
  ) throws(Ignored) {
    // RFC 951, section 7.3: a client that names a server in sname wants no other's answer.
    guard message.serverName.isEmpty || message.serverName == composer.serverAddressText else { throw .otherServer }
    let boot = policy.boot(for: client)
    let leaseClient = LeaseClient(
      holder: holder, hostName: client.hostName, reservation: policy.reservation(for: client))
    if let address = leaseClient.reservation, configuration.networks[network].subnet.isHost(address) {
      // Whoever has it by a lease keeps it until that is over, and the client asks again.
      let isFree = machine.withLock { $0.isFree(address, for: leaseClient, network, now, book(for: leaseClient)) }
      let decision =
        isFree
        ? LeaseDecision(outcome: .offer(address), reason: .reserved)
        : LeaseDecision(outcome: .silence, reason: .heldByOther)
      return enqueue(bootpResponse(to: message, client, network, decision, boot))
    }
    guard configuration.allowsDynamicBOOTP else { throw .bootp }
    machine.withLock { machine in
      let book = book(for: leaseClient)
      var decision = machine.handle(
        .discover(requested: message.clientAddress == .any ? nil : message.clientAddress), from: leaseClient,
        network: network, now: now, book: book)
      if case .offer(let address) = decision.outcome {
        decision = machine.handle(.select(address), from: leaseClient, network: network, now: now, book: book)
      }
      enqueue(bootpResponse(to: message, client, network, decision, boot))
    }
  }

  private func bootpResponse(
    to message: DHCPMessage, _ client: ClientDescription, _ network: Int, _ decision: LeaseDecision, _ boot: BootAnswer
  ) -> Response {
    var address: IPv4Address?
    switch decision.outcome {
    case .offer(let found), .acknowledge(let found): address = found
    case .refuse, .silence: break
    }
    let options = BootOptions(boot, for: client, serverAddressText: composer.serverAddressText)
    let bytes = address.map {
      composer.reply(nil, to: message, network: network, address: $0, boot: options, hostName: boot.hostName)
    }
    let destination = ReplyDestination(replyTo: message, type: nil, address: address ?? .any)
    let exchange = exchange(
      "BOOTREQUEST", address == nil ? nil : "BOOTREPLY", client, address, decision.reason.rawValue,
      boot: address == nil ? nil : boot, quirks: options.quirks, message, bytes ?? [], destination)
    return Response(
      bytes: bytes ?? [], destination: destination,
      changes: decision.changes, exchange: exchange, isPoolExhausted: decision.reason == .poolExhausted)
  }

  // MARK: Reading the message

  /// RFC 2131, table 4: what a REQUEST is shows in which fields it fills.
  private func event(
    _ type: DHCPMessageType, _ message: DHCPMessage, _ reception: Reception
  ) throws(Ignored) -> LeaseEvent {
    let server = message.serverIdentifier
    let isOurs =
      server == nil || server == composer.serverIdentifier(for: message)
      || server == configuration.serverAddress
    switch type {
    case .discover:
      return .discover(requested: message.requestedAddress)
    case .decline:
      guard isOurs, let address = message.requestedAddress else { throw .incompleteRequest }
      return .decline(address)
    case .release:
      guard isOurs, message.clientAddress != .any else { throw .incompleteRequest }
      return .release(message.clientAddress)
    case .request:
      guard isOurs else { return .selectOther }
      if let address = message.requestedAddress {
        return server == nil ? .reboot(address) : .select(address)
      }
      guard message.clientAddress != .any else { throw .incompleteRequest }
      // A server identifier does not belong into RENEWING, but some clients send it.
      return reception.wasBroadcast || message.relay != .any
        ? .rebind(message.clientAddress) : .renew(message.clientAddress)
    case .inform, .offer, .acknowledge, .refuse:
      throw .serverMessage
    }
  }

  /// The network an address is wanted in: what the relay agent selects (RFC 3527), what the client
  /// selects (RFC 3011), the relay's own, that of the address a client renews, else the card's.
  private func network(of message: DHCPMessage) -> Int? {
    if message.relay != .any {
      return index(of: message.linkSelection ?? message.subnetSelection ?? message.relay)
    }
    if let selected = message.subnetSelection { return index(of: selected) }
    if message.clientAddress != .any, let index = index(of: message.clientAddress) { return index }
    return 0
  }

  private func index(of address: IPv4Address) -> Int? {
    subnets.firstIndex { $0.lower <= address.rawValue && address.rawValue <= $0.upper }
  }

  // MARK: Writing the answer

  private func response(
    to message: DHCPMessage, _ type: DHCPMessageType, _ client: ClientDescription, _ network: Int,
    _ decision: LeaseDecision, _ boot: BootAnswer?
  ) -> Response {
    let sent: DHCPMessageType?
    let address: IPv4Address?
    switch decision.outcome {
    case .offer(let offered): (sent, address) = (.offer, offered)
    case .acknowledge(let acknowledged): (sent, address) = (.acknowledge, acknowledged)
    case .refuse(let refused): (sent, address) = (.refuse, refused)
    case .silence: (sent, address) = (nil, decision.changes.last?.address ?? message.requestedAddress)
    }
    var bytes: [UInt8] = []
    var options: BootOptions?
    switch sent {
    case .refuse:
      bytes = composer.refusal(to: message, reason: decision.reason.rawValue)
    case .some(let sent):
      if let address {
        let answer = boot ?? BootAnswer(bootFile: nil, reason: "")
        let made = BootOptions(answer, for: client, serverAddressText: composer.serverAddressText)
        options = made
        bytes = composer.reply(
          sent, to: message, network: network, address: address, boot: made, hostName: answer.hostName)
      }
    case nil:
      break
    }
    let destination = ReplyDestination(replyTo: message, type: sent, address: address ?? .any)
    let exchange = exchange(
      type.name, sent?.name, client, address, decision.reason.rawValue, boot: options == nil ? nil : boot,
      quirks: options?.quirks ?? [], message, bytes, destination)
    return Response(
      bytes: bytes,
      destination: destination,
      changes: decision.changes,
      exchange: exchange,
      type: sent, isPoolExhausted: decision.reason == .poolExhausted, isUnprobed: decision.isUnprobed)
  }

  /// RFC 2131, section 4.3.5: "The server SHOULD NOT check for an existing lease binding, SHOULD NOT
  /// fill in 'yiaddr' and SHOULD NOT include lease time parameters."
  private func informed(
    _ message: DHCPMessage, _ type: DHCPMessageType, _ client: ClientDescription, _ network: Int
  ) -> Response {
    let answer = policy.boot(for: client)
    let options = BootOptions(answer, for: client, serverAddressText: composer.serverAddressText)
    let bytes = composer.reply(
      .acknowledge, to: message, network: network, address: .any, boot: options, hostName: answer.hostName)
    let destination = ReplyDestination(replyTo: message, type: .acknowledge, address: .any)
    let exchange = exchange(
      type.name, DHCPMessageType.acknowledge.name, client, message.clientAddress, "the client has an address",
      boot: answer, quirks: options.quirks, message, bytes, destination)
    return Response(
      bytes: bytes, destination: destination, exchange: exchange, type: .acknowledge)
  }

  /// What an observer is told; `nil` where there is none.
  /// - Parameters:
  ///   - reply: Behind ``DHCPWire/UDPFrame/headerLength`` bytes of room; empty for silence.
  ///   - serverPort: Where the server was asked.
  func exchange(
    _ received: String, _ sent: String?, _ client: ClientDescription, _ address: IPv4Address?, _ reason: String,
    boot: BootAnswer?, quirks: [String] = [], _ message: DHCPMessage, _ reply: [UInt8],
    _ destination: ReplyDestination, serverPort: UInt16 = DHCPPort.server
  ) -> Exchange? {
    guard isObserved else { return nil }
    // The packets of machines that boot alone: the many others would only crowd them out.
    let packets =
      client.speaker == .other
      ? nil
      : ExchangePackets(
        request: message, reply: reply, to: destination, server: configuration.serverAddress, serverPort: serverPort)
    return Exchange(
      received: received, sent: sent, client: client, address: address, bootFile: boot?.bootFile, reason: reason,
      boot: boot, quirks: quirks, packets: packets)
  }
}
