import DHCPClient
import DHCPWire
import NetworkTypes
import Testing

/// RFC 2131, section 4.4: the client's side.
struct ClientMachineTests {
  static let identity = ClientMachine.Identity(
    hardwareAddress: card(1), vendorClass: "perseid-stage1", hostName: "n0000")
  static let lease = AcquiredLease(
    address: address("10.0.0.9"), prefixLength: 24, router: nil, serverIdentifier: address("10.0.0.1"),
    leaseSeconds: 60, renewalSeconds: 30, rebindingSeconds: 52, obtainedAt: 100)

  static func acquiring() -> ClientMachine {
    ClientMachine(acquiring: identity, requested: nil, now: 0, random: { 512 })
  }

  static func extending(at now: Int64) -> ClientMachine {
    ClientMachine(extending: lease, identity, now: now, random: { 512 })
  }

  static func reply(
    _ type: DHCPMessageType, to message: DHCPMessage, _ change: (inout DHCPMessage) -> Void = { _ in }
  ) -> DHCPMessage {
    var reply = DHCPMessage(
      operation: .reply, hardware: message.hardware, transaction: message.transaction,
      yourAddress: address("10.0.0.9"))
    reply.options.set(.messageType, [type.rawValue])
    reply.options.set(.serverIdentifier, [10, 0, 0, 1])
    reply.options.set(.leaseTime, [0, 0, 0, 60])
    reply.options.set(.subnetMask, [255, 255, 255, 0])
    change(&reply)
    return reply
  }

  static func sent(_ action: ClientMachine.Action) throws -> (message: DHCPMessage, to: IPv4Address, until: Int64) {
    guard case .send(let message, let to, let until) = action else {
      Issue.record("\(action) sends nothing")
      throw CancellationError()
    }
    return (message, to, until)
  }

  @Test("DISCOVER, OFFER, REQUEST, ACK make a lease that counts from when the request was sent")
  func acquires() throws {
    var machine = Self.acquiring()
    let discover = try Self.sent(machine.send(now: 0))
    #expect(discover.message.messageType == .discover)
    #expect(discover.message.wantsBroadcast)
    #expect(discover.message.options.text(.vendorClass) == "perseid-stage1")
    #expect(discover.message.clientIdentifier.map(Array.init) == [1] + card(1).bytes)
    #expect(discover.to == .broadcast)
    let request = try Self.sent(machine.received(Self.reply(.offer, to: discover.message), now: 2000))
    #expect(request.message.messageType == .request)
    #expect(request.message.requestedAddress == address("10.0.0.9"))
    #expect(request.message.serverIdentifier == address("10.0.0.1"))
    #expect(request.message.clientAddress == .any)
    guard case .acquired(let lease) = machine.received(Self.reply(.acknowledge, to: request.message), now: 9000) else {
      Issue.record("no lease")
      return
    }
    #expect(lease.address == address("10.0.0.9"))
    #expect(lease.prefixLength == 24)
    #expect((lease.obtainedAt, lease.renewAt, lease.rebindAt, lease.expiresAt) == (2, 32, 54, 62))
  }

  @Test("an InfiniBand port is known by its client identifier alone (RFC 4390)")
  func infiniBand() throws {
    var identity = Self.identity
    identity.clientIdentifier = [0xFF, 0, 0, 0, 0, 0, 2]
    var machine = ClientMachine(acquiring: identity, requested: nil, now: 0, random: { 512 })
    let discover = try Self.sent(machine.send(now: 0)).message
    #expect(discover.hardware == HardwareAddress(type: 32, length: 0, upper: 0, lower: 0))
    #expect(discover.wantsBroadcast)
    #expect(discover.clientIdentifier.map(Array.init) == identity.clientIdentifier)
    let request = try Self.sent(machine.received(Self.reply(.offer, to: discover), now: 1)).message
    #expect(request.clientIdentifier.map(Array.init) == identity.clientIdentifier)
    // An Ethernet client's answer is somebody else's.
    let other = Self.reply(.acknowledge, to: request) { $0.hardware = HardwareAddress(card(1)) }
    guard case .wait = machine.received(other, now: 2) else {
      Issue.record("took an answer to another client")
      return
    }
    guard case .acquired(let lease) = machine.received(Self.reply(.acknowledge, to: request), now: 3) else {
      Issue.record("no lease")
      return
    }
    #expect(lease.address == address("10.0.0.9"))
    var renewal = ClientMachine(extending: lease, identity, now: 0, random: { 512 })
    #expect(try Self.sent(renewal.send(now: 0)).message.hardware.type == 32)
  }

  @Test("waits double up to 16 seconds, a quarter more or less")
  func backOff() throws {
    var machine = Self.acquiring()
    var now: Int64 = 0
    let waits = try (0..<7).map { _ in
      let until = try Self.sent(machine.send(now: now)).until
      defer { now = until }
      return until - now
    }
    #expect(waits == [1000, 2000, 4000, 8000, 16_000, 16_000, 16_000])
    for (number, factor) in [(UInt32(0), 750), (1023, 1249)] as [(UInt32, Int64)] {
      var machine = ClientMachine(acquiring: Self.identity, requested: nil, now: 0, random: { number })
      #expect(try Self.sent(machine.send(now: 0)).until == factor)
    }
  }

  @Test("replies of other exchanges, other clients, and those without an address are passed over")
  func passesOver() throws {
    var machine = Self.acquiring()
    let discover = try Self.sent(machine.send(now: 0))
    let strange = [
      Self.reply(.offer, to: discover.message) { $0.transaction += 1 },
      Self.reply(.offer, to: discover.message) { $0.hardware = HardwareAddress(card(2)) },
      Self.reply(.offer, to: discover.message) { $0.operation = .request },
      Self.reply(.offer, to: discover.message) { $0.yourAddress = .any },
      Self.reply(.offer, to: discover.message) { $0.options.remove(.serverIdentifier) },
      Self.reply(.acknowledge, to: discover.message),
    ]
    for message in strange { #expect(machine.received(message, now: 5) == .wait(until: discover.until)) }
  }

  @Test("an offer that is refused, or never confirmed, begins the search anew")
  func restarts() throws {
    var machine = Self.acquiring()
    var discover = try Self.sent(machine.send(now: 0)).message
    var request = try Self.sent(machine.received(Self.reply(.offer, to: discover), now: 0))
    #expect(machine.received(Self.reply(.refuse, to: request.message), now: 1) == .wait(until: request.until))
    discover = try Self.sent(machine.send(now: request.until)).message
    #expect(discover.messageType == .discover)
    request = try Self.sent(machine.received(Self.reply(.offer, to: discover), now: 0))
    for _ in 0..<3 { #expect(try Self.sent(machine.send(now: 0)).message.messageType == .request) }
    #expect(try Self.sent(machine.send(now: 0)).message.messageType == .discover)
  }

  @Test("RENEWING asks the server by unicast from the address in use; from T2 REBINDING asks everyone")
  func extends() throws {
    var machine = Self.extending(at: 130_000)
    let renew = try Self.sent(machine.send(now: 130_000))
    #expect(renew.to == address("10.0.0.1"))
    #expect(renew.message.clientAddress == address("10.0.0.9"))
    #expect(!renew.message.wantsBroadcast)
    #expect(renew.message.requestedAddress == nil)
    #expect(renew.message.serverIdentifier == nil)
    #expect(try Self.sent(machine.send(now: 151_999)).to == address("10.0.0.1"))
    #expect(try Self.sent(machine.send(now: 152_000)).to == .broadcast)
    guard case .acquired(let lease) = machine.received(Self.reply(.acknowledge, to: renew.message), now: 153_000) else {
      Issue.record("no lease")
      return
    }
    #expect(lease.obtainedAt == 152)
    #expect(lease.serverIdentifier == address("10.0.0.1"))
  }

  @Test("after NAK and after its end a lease is over")
  func ends() throws {
    var machine = Self.extending(at: 130_000)
    let renew = try Self.sent(machine.send(now: 130_000))
    let refusal = Self.reply(.refuse, to: renew.message) { $0.options.set(.message, text("gone")) }
    #expect(machine.received(refusal, now: 130_001) == .refused(address("10.0.0.9"), message: "gone"))
    #expect(machine.send(now: 160_000) == .expired(address("10.0.0.9")))
  }

  @Test("a mask with holes is no prefix, and times out of order are put in order")
  func oddReplies() throws {
    var machine = Self.acquiring()
    let discover = try Self.sent(machine.send(now: 0)).message
    let request = try Self.sent(machine.received(Self.reply(.offer, to: discover), now: 0)).message
    let odd = Self.reply(.acknowledge, to: request) {
      $0.options.set(.subnetMask, [255, 0, 255, 0])
      $0.options.set(.renewalTime, [0, 0, 1, 0])
      $0.options.set(.rebindingTime, [0, 0, 2, 0])
    }
    guard case .acquired(let lease) = machine.received(odd, now: 0) else {
      Issue.record("no lease")
      return
    }
    #expect(lease.prefixLength == 32)
    #expect((lease.renewalSeconds, lease.rebindingSeconds) == (60, 60))
  }

  /// The lease a server's ACK makes.
  private func acquired(_ change: @escaping (inout DHCPMessage) -> Void) throws -> AcquiredLease {
    var machine = Self.acquiring()
    let discover = try Self.sent(machine.send(now: 0))
    let request = try Self.sent(machine.received(Self.reply(.offer, to: discover.message), now: 0))
    guard case .acquired(let lease) = machine.received(Self.reply(.acknowledge, to: request.message, change), now: 0)
    else {
      Issue.record("no lease")
      throw CancellationError()
    }
    return lease
  }

  @Test("asks for MTU, search domains and routes, and for routes before the router (RFC 3442)")
  func asksForNetworkOptions() throws {
    var machine = Self.acquiring()
    let list = try #require(try Self.sent(machine.send(now: 0)).message.parameterRequestList).map { Int($0) }
    #expect(Set([26, 119, 121]).isSubset(of: list))
    #expect(try #require(list.firstIndex(of: 121)) < #require(list.firstIndex(of: 3)))
  }

  @Test("the largest packet, search domains and routes of an ACK are in the lease")
  func networkOptions() throws {
    let routes = [
      ClasslessRoute("192.168.128.0/17 via 10.0.0.7"), ClasslessRoute("0.0.0.0/0 via 10.0.0.1"),
      ClasslessRoute("198.51.100.0/24 via 0.0.0.0"),
    ].compactMap(\.self)
    let lease = try acquired {
      $0.options.set(.interfaceMTU, [0x23, 0x28])
      $0.options.set(.domainSearch, DomainSearch.encode(["cluster.test", "example.test"]))
      $0.options.set(.classlessRoutes, ClasslessRoute.encode(routes))
      $0.options.set(.router, [10, 0, 0, 99])
    }
    #expect(lease.mtu == 9000)
    #expect(lease.domainSearch == ["cluster.test", "example.test"])
    #expect(lease.routes == [routes[0], routes[2]])
    #expect(lease.router == address("10.0.0.1"))
  }

  @Test("where there are routes without a default one, the router option is passed over all the same")
  func routesReplaceRouter() throws {
    let lease = try acquired {
      $0.options.set(.classlessRoutes, ClasslessRoute.encode([ClasslessRoute("10.9.0.0/16 via 10.0.0.7")!]))
      $0.options.set(.router, [10, 0, 0, 99])
    }
    #expect(lease.router == nil)
    #expect(lease.routes.map(\.description) == ["10.9.0.0/16 via 10.0.0.7"])
  }

  @Test("damaged options of the network are as good as absent")
  func damagedNetworkOptions() throws {
    let lease = try acquired {
      $0.options.set(.classlessRoutes, [33, 10, 0, 0, 0, 0, 10, 0, 0, 7])
      $0.options.set(.router, [10, 0, 0, 99])
      // An IPv4 host takes 576 bytes at least.
      $0.options.set(.interfaceMTU, [0, 68])
      $0.options.set(.domainSearch, [9, 0x61])
    }
    #expect(lease.routes.isEmpty && lease.router == address("10.0.0.99"))
    #expect(lease.mtu == nil && lease.domainSearch.isEmpty)
  }
}
