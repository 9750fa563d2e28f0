package import DHCPWire
package import NetworkTypes

/// A client's side of one exchange (RFC 2131, section 4.4), without socket, clock or chance: each of
/// its inputs returns what to do next.
///
/// Times are milliseconds of any one clock that does not go back.
package struct ClientMachine: Sendable {
  /// Who the client is.
  package struct Identity: Hashable, Sendable {
    package var hardwareAddress: MACAddress
    /// Option 60.
    package var vendorClass: String
    /// Option 12.
    package var hostName: String?
    /// Option 61 where the hardware has no address that DHCP could carry (InfiniBand, RFC 4390); else `nil`.
    package var clientIdentifier: [UInt8]?

    package init(
      hardwareAddress: MACAddress, vendorClass: String, hostName: String? = nil, clientIdentifier: [UInt8]? = nil
    ) {
      self.hardwareAddress = hardwareAddress
      self.vendorClass = vendorClass
      self.hostName = hostName
      self.clientIdentifier = clientIdentifier
    }

    /// RFC 4390, section 2.1: "htype" is 32, "hlen" 0 and "chaddr" zeros.
    fileprivate var hardware: HardwareAddress {
      clientIdentifier == nil
        ? HardwareAddress(hardwareAddress) : HardwareAddress(type: 32, length: 0, upper: 0, lower: 0)
    }
  }

  package enum Action: Equatable, Sendable {
    /// Send to everyone, or to that server; then wait for replies until the time given.
    case send(DHCPMessage, to: IPv4Address, waitUntil: Int64)
    /// Go on waiting until the time given.
    case wait(until: Int64)
    case acquired(AcquiredLease)
    /// The address in use was refused.
    case refused(IPv4Address, message: String?)
    case expired(IPv4Address)
  }

  private enum Phase: Sendable {
    case selecting
    case requesting(DHCPMessage, sends: Int)
    /// RENEWING until T2 of the lease, then REBINDING.
    case extending(AcquiredLease)
  }

  /// Milliseconds until the first retransmission; each following wait is twice as long, up to the
  /// longest. RFC 2131 proposes 4 seconds for networks of 1997; a node's boot waits for this one.
  private static let firstWait: Int64 = 1000
  private static let longestWait: Int64 = 16_000
  /// How often an offer is asked for before the search begins anew.
  private static let requestSends = 4

  private let identity: Identity
  private let requested: IPv4Address?
  private var phase: Phase
  private var transaction: UInt32
  private let began: Int64
  private var sentAt: Int64
  private var wait = Self.firstWait
  private var waitUntil: Int64 = 0
  /// A uniformly random number; pure where the test gives its own.
  private let random: @Sendable () -> UInt32

  /// Begins a search for an address.
  package init(
    acquiring identity: Identity, requested: IPv4Address?, now: Int64, random: @escaping @Sendable () -> UInt32
  ) {
    self.identity = identity
    self.requested = requested
    self.random = random
    phase = .selecting
    transaction = random()
    began = now
    sentAt = now
  }

  /// Begins to extend a lease whose `obtainedAt` is in seconds of the same clock.
  package init(
    extending lease: AcquiredLease, _ identity: Identity, now: Int64, random: @escaping @Sendable () -> UInt32
  ) {
    self.identity = identity
    self.requested = nil
    self.random = random
    phase = .extending(lease)
    transaction = random()
    began = now
    sentAt = now
  }

  /// What to send first, and again whenever the wait is over.
  package mutating func send(now: Int64) -> Action {
    switch phase {
    case .selecting:
      return send(discover(now), to: .broadcast, now)
    case .requesting(let offer, let sends):
      guard sends < Self.requestSends else {
        restart()
        return send(now: now)
      }
      phase = .requesting(offer, sends: sends + 1)
      return send(request(offer, now), to: .broadcast, now)
    case .extending(let lease):
      guard lease.isInfinite || now < lease.expiresAt * 1000 else { return .expired(lease.address) }
      let server: IPv4Address = now < lease.rebindAt &* 1000 || lease.isInfinite ? lease.serverIdentifier : .broadcast
      return send(extend(lease, now), to: server, now)
    }
  }

  /// A message that came in; what is not for this exchange is passed over.
  package mutating func received(_ message: DHCPMessage, now: Int64) -> Action {
    guard message.operation == .reply, message.transaction == transaction,
      message.hardware.ethernet == identity.hardware.ethernet
    else { return .wait(until: waitUntil) }
    switch (phase, message.messageType) {
    case (.selecting, .offer):
      guard message.yourAddress != .any, message.serverIdentifier != nil else { return .wait(until: waitUntil) }
      phase = .requesting(message, sends: 0)
      wait = Self.firstWait
      return send(now: now)
    case (.requesting(let offer, _), .acknowledge):
      return .acquired(lease(from: message, offer: offer))
    case (.requesting, .refuse):
      // RFC 2131, section 3.1, point 4: "If the client receives a DHCPNAK message, the client
      // restarts the configuration process." After the wait: a server may refuse again and again.
      restart()
      return .wait(until: waitUntil)
    case (.extending(let lease), .acknowledge):
      guard message.yourAddress == lease.address else { return .wait(until: waitUntil) }
      return .acquired(self.lease(from: message, offer: nil))
    case (.extending(let lease), .refuse):
      return .refused(lease.address, message: message.options.text(.message))
    default:
      return .wait(until: waitUntil)
    }
  }

  /// What the exchange waits for, for a person.
  package var awaited: String {
    switch phase {
    case .selecting: "DISCOVER"
    case .requesting, .extending: "REQUEST"
    }
  }

  private mutating func restart() {
    phase = .selecting
    transaction = random()
  }

  private mutating func send(_ message: DHCPMessage, to address: IPv4Address, _ now: Int64) -> Action {
    sentAt = now
    // A quarter more or less, so that a rack that gets its power back does not ask in step.
    let jitter = wait / 2 * Int64(random() % 1024) / 1024 - wait / 4
    waitUntil = now + wait + jitter
    wait = min(wait * 2, Self.longestWait)
    return .send(message, to: address, waitUntil: waitUntil)
  }

  // MARK: Messages

  private func discover(_ now: Int64) -> DHCPMessage {
    var message = fixedPart(now)
    message.options.set(.messageType, [DHCPMessageType.discover.rawValue])
    if let requested { message.options.set(.requestedAddress, requested.bytes) }
    return identified(message)
  }

  private func request(_ offer: DHCPMessage, _ now: Int64) -> DHCPMessage {
    var message = fixedPart(now)
    message.options.set(.messageType, [DHCPMessageType.request.rawValue])
    message.options.set(.requestedAddress, offer.yourAddress.bytes)
    if let server = offer.serverIdentifier { message.options.set(.serverIdentifier, server.bytes) }
    return identified(message)
  }

  private func extend(_ lease: AcquiredLease, _ now: Int64) -> DHCPMessage {
    var message = fixedPart(now)
    // The client answers ARP for its address: unicast reaches it. RFC 4390, section 2.2: over InfiniBand "the client
    // must request that the server sends a broadcast reply", unless it has its address already.
    message.wantsBroadcast = false
    message.clientAddress = lease.address
    message.options.set(.messageType, [DHCPMessageType.request.rawValue])
    return identified(message)
  }

  private func fixedPart(_ now: Int64) -> DHCPMessage {
    DHCPMessage(
      operation: .request, hardware: identity.hardware, transaction: transaction,
      seconds: UInt16(clamping: (now - began) / 1000),
      // A UDP socket without an address gets no unicast.
      flags: 0x8000)
  }

  private func identified(_ message: DHCPMessage) -> DHCPMessage {
    var message = message
    message.options.set(.clientIdentifier, identity.clientIdentifier ?? [1] + identity.hardwareAddress.bytes)
    message.options.set(.vendorClass, Array(identity.vendorClass.utf8.prefix(255)))
    if let hostName = identity.hostName, !hostName.isEmpty {
      message.options.set(.hostName, Array(hostName.utf8.prefix(255)))
    }
    message.options.set(.maximumMessageSize, [0x05, 0xDC])
    let wanted: [DHCPOptionCode] = [
      // RFC 3442: "The Classless Static Routes option code MUST appear in the parameter request list
      // prior to" the router option's.
      .subnetMask, .classlessRoutes, .router, .nameServers, .hostName, .domainName, .domainSearch, .interfaceMTU,
      .timeServers, .leaseTime, .serverIdentifier, .renewalTime, .rebindingTime,
    ]
    message.options.set(.parameterRequestList, wanted.map(\.rawValue))
    return message
  }

  private func lease(from reply: DHCPMessage, offer: DHCPMessage?) -> AcquiredLease {
    let before: AcquiredLease? = if case .extending(let lease) = phase { lease } else { nil }
    let seconds = reply.options.unsigned32(.leaseTime) ?? before?.leaseSeconds ?? .max
    let rebinding = min(
      reply.options.unsigned32(.rebindingTime) ?? UInt32(UInt64(seconds) * 7 / 8), seconds)
    let renewal = min(reply.options.unsigned32(.renewalTime) ?? seconds / 2, rebinding)
    let mask = reply.options.address(.subnetMask)?.rawValue
    let routes = reply.classlessRoutes
    func isDefault(_ route: ClasslessRoute) -> Bool { route.destination.prefixLength == 0 && route.router != .any }
    return AcquiredLease(
      address: reply.yourAddress,
      // A mask with holes is none.
      prefixLength: mask.flatMap { (~$0).leadingZeroBitCount + (~$0).nonzeroBitCount == 32 ? $0.nonzeroBitCount : nil }
        ?? before?.prefixLength ?? 32,
      // RFC 3442: "If the DHCP server returns both a Classless Static Routes option and a Router option,
      // the DHCP client MUST ignore the Router option."
      router: routes.map { $0.first(where: isDefault)?.router } ?? reply.options.addresses(.router).first,
      serverIdentifier: reply.serverIdentifier ?? offer?.serverIdentifier ?? before?.serverIdentifier ?? .any,
      leaseSeconds: seconds, renewalSeconds: renewal, rebindingSeconds: rebinding,
      // RFC 2131, section 4.4.1: the lease counts from when the request was sent.
      obtainedAt: sentAt / 1000,
      hostName: reply.options.text(.hostName),
      nameServers: reply.options.addresses(.nameServers),
      domain: reply.options.text(.domainName),
      timeServers: reply.options.addresses(.timeServers),
      // Every host takes packets of 576 bytes (RFC 791): less is a mistake that would cut the node off.
      mtu: reply.options.unsigned16(.interfaceMTU).flatMap { $0 >= 576 ? $0 : nil },
      domainSearch: reply.domainSearch ?? [],
      routes: routes?.filter { !isDefault($0) } ?? [])
  }
}
