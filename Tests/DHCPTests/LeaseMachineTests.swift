import NetworkTypes
import Testing

@testable import DHCP

/// RFC 2131, section 4.3, and what is ours beyond it.
struct LeaseMachineTests {
  static func machine(
    _ pool: String = "10.0.0.100-10.0.0.199", leases: [Lease] = [], reserve: Int = 0
  ) -> LeaseMachine {
    LeaseMachine(
      networks: [
        LeaseNetwork(
          subnet: IPv4Subnet("10.0.0.0/24")!, ranges: [IPv4Range(pool)!], excluded: [address("10.0.0.1")])
      ], leases: leases, leaseSeconds: 600, reserveSize: reserve)
  }

  static func client(_ number: UInt64, reservation: IPv4Address? = nil) -> LeaseClient {
    LeaseClient(holder: .hardware(card(number)), reservation: reservation)
  }

  /// A machine, a clock, and reservations: the outside of the pure part.
  final class Desk {
    var machine = LeaseMachineTests.machine()
    var now: Int64 = 1000
    var reserved: [IPv4Address: MACAddress] = [:]
    /// Registered machines, and how many of them have no address.
    var known: Set<MACAddress> = []
    var waiting = 0

    var book: AddressBook {
      AddressBook(
        owner: { [reserved] in reserved[$0] }, isKnown: { [known] in known.contains($0) },
        waiting: { [waiting] in waiting })
    }

    func handle(_ event: LeaseEvent, _ number: UInt64) -> LeaseDecision {
      let reservation = reserved.first { $0.value == card(number) }?.key
      return machine.handle(
        event, from: client(number, reservation: reservation), network: 0, now: now, book: book)
    }

    /// DISCOVER; the address offered.
    func offered(_ number: UInt64, asking requested: IPv4Address? = nil) -> IPv4Address? {
      if case .offer(let address) = handle(.discover(requested: requested), number).outcome { address } else { nil }
    }

    /// DISCOVER and REQUEST; the address got.
    func bound(_ number: UInt64, asking requested: IPv4Address? = nil) -> IPv4Address? {
      guard let offer = offered(number, asking: requested),
        case .acknowledge(let address) = handle(.select(offer), number).outcome
      else { return nil }
      return address
    }
  }

  @Test("a DISCOVER is offered the next address that nobody had, and nothing is written")
  func discover() {
    let desk = Desk()
    let decision = desk.handle(.discover(requested: nil), 1)
    #expect(decision == LeaseDecision(outcome: .offer(address("10.0.0.100")), reason: .neverUsed))
  }

  @Test("a repeated DISCOVER gets the same offer, also after the offer has run out")
  func repeatedDiscover() {
    let desk = Desk()
    let first = desk.offered(1)
    for _ in 0..<4 { #expect(desk.offered(1) == first) }
  }

  @Test("100 clients at once get 100 distinct offers, and the 101st none")
  func hundredClients() {
    let desk = Desk()
    #expect(Set((1...100).compactMap { desk.offered($0) }).count == 100)
    #expect(desk.handle(.discover(requested: nil), 101) == LeaseDecision(outcome: .silence, reason: .poolExhausted))
  }

  @Test("offers that nobody takes are given to others when they have run out")
  func offersExpire() {
    let desk = Desk()
    let first = Set((1...100).compactMap { desk.offered($0) })
    desk.now += 61
    #expect(Set((101...200).compactMap { desk.offered($0) }) == first)
  }

  @Test("SELECTING binds what was offered, for the lease time, and hands it over to be written")
  func select() throws {
    let desk = Desk()
    let offer = try #require(desk.offered(1))
    let decision = desk.handle(.select(offer), 1)
    #expect(decision.outcome == .acknowledge(offer))
    #expect(
      decision.changes == [Lease(address: offer, holder: .hardware(card(1)), state: .bound, expires: 1600)])
  }

  @Test("SELECTING of an address that another client has is refused")
  func selectForeign() throws {
    let desk = Desk()
    let taken = try #require(desk.bound(1))
    #expect(desk.handle(.select(taken), 2) == LeaseDecision(outcome: .refuse(taken), reason: .heldByOther))
    #expect(
      desk.handle(.select(address("192.0.2.1")), 2)
        == LeaseDecision(outcome: .refuse(address("192.0.2.1")), reason: .wrongNetwork))
  }

  @Test("a REQUEST that names another server frees our offer and is not answered")
  func selectOther() throws {
    let desk = Desk()
    desk.machine = Self.machine("10.0.0.100-10.0.0.100")
    #expect(desk.offered(1) != nil)
    #expect(desk.offered(2) == nil)
    #expect(desk.handle(.selectOther, 1) == LeaseDecision(outcome: .silence, reason: .tookOther))
    desk.now += 61
    #expect(desk.offered(2) == address("10.0.0.100"))
  }

  @Test("a client that comes back gets its address, after RELEASE and after expiry, while nobody needed it")
  func remembers() throws {
    let desk = Desk()
    let first = try #require(desk.bound(1))
    #expect(desk.handle(.release(first), 1).changes.first?.state == .released)
    _ = desk.bound(2)
    #expect(desk.bound(1) == first)
    desk.now += 10_000
    _ = desk.bound(3)
    #expect(desk.offered(1) == first)
  }

  @Test("addresses nobody had are given out before those remembered for someone, then the one longest free")
  func order() throws {
    let desk = Desk()
    desk.machine = Self.machine("10.0.0.100-10.0.0.102")
    let first = try #require(desk.bound(1))
    desk.now += 5
    let second = try #require(desk.bound(2))
    desk.now += 10_000
    #expect(desk.bound(3) == address("10.0.0.102"))
    #expect(desk.handle(.discover(requested: nil), 4).reason == .longestUnused)
    #expect(desk.bound(4) == first)
    #expect(desk.bound(5) == second)
    #expect(desk.bound(6) == nil)
    // The one who had it before is a stranger to it now.
    #expect(desk.handle(.reboot(first), 1).outcome == .refuse(first))
  }

  @Test("a lease that was renewed is not given away at its first end")
  func renewedLeaseIsKept() throws {
    let desk = Desk()
    desk.machine = Self.machine("10.0.0.100-10.0.0.100")
    let mine = try #require(desk.bound(1))
    desk.now += 500
    #expect(desk.handle(.renew(mine), 1).outcome == .acknowledge(mine))
    desk.now += 500
    #expect(desk.offered(2) == nil)
    desk.now += 101
    #expect(desk.offered(2) == mine)
  }

  @Test("a client gets the address it asks for where that is free and of the pool")
  func requested() {
    let desk = Desk()
    #expect(desk.offered(1, asking: address("10.0.0.150")) == address("10.0.0.150"))
    #expect(desk.offered(2, asking: address("10.0.0.150")) == address("10.0.0.100"))
    #expect(desk.offered(3, asking: address("10.0.0.1")) == address("10.0.0.101"))
    #expect(desk.offered(4, asking: address("10.0.0.20")) == address("10.0.0.102"))
  }

  @Test("INIT-REBOOT: right is confirmed, wrong network and wrong address refused, unknown left to others")
  func reboot() throws {
    let desk = Desk()
    let mine = try #require(desk.bound(1))
    #expect(desk.handle(.reboot(mine), 1).outcome == .acknowledge(mine))
    #expect(desk.handle(.reboot(address("192.0.2.7")), 1).outcome == .refuse(address("192.0.2.7")))
    #expect(desk.handle(.reboot(address("10.0.0.150")), 1).outcome == .refuse(address("10.0.0.150")))
    #expect(desk.handle(.reboot(mine), 2).outcome == .refuse(mine))
    #expect(
      desk.handle(.reboot(address("10.0.0.150")), 2) == LeaseDecision(outcome: .silence, reason: .unknownClient))
  }

  @Test("RENEWING extends; an address of another client or network is refused; a lost record is made again")
  func renew() throws {
    let desk = Desk()
    let mine = try #require(desk.bound(1))
    desk.now += 300
    #expect(desk.handle(.renew(mine), 1).changes.map(\.expires) == [1900])
    #expect(desk.handle(.renew(mine), 2).outcome == .refuse(mine))
    #expect(desk.handle(.renew(address("192.0.2.7")), 1).outcome == .refuse(address("192.0.2.7")))
    #expect(desk.handle(.renew(address("10.0.0.150")), 3).reason == .recovered)
  }

  @Test("REBINDING extends; what another server may have given is left to it; another client's is refused")
  func rebind() throws {
    let desk = Desk()
    let mine = try #require(desk.bound(1))
    #expect(desk.handle(.rebind(mine), 1).outcome == .acknowledge(mine))
    #expect(desk.handle(.rebind(mine), 2).outcome == .refuse(mine))
    #expect(desk.handle(.rebind(address("192.0.2.7")), 1).outcome == .silence)
    #expect(desk.handle(.rebind(address("10.0.0.150")), 3).outcome == .silence)
  }

  @Test("a DECLINEd address is nobody's for a while, and only its holder can decline it")
  func decline() throws {
    let desk = Desk()
    desk.machine = Self.machine("10.0.0.100-10.0.0.101")
    let mine = try #require(desk.bound(1))
    #expect(desk.handle(.decline(mine), 2).reason == .notHolder)
    #expect(desk.handle(.decline(mine), 1).changes.map(\.state) == [.declined])
    #expect(desk.offered(1, asking: mine) == address("10.0.0.101"))
    #expect(desk.offered(2, asking: mine) == nil)
    desk.now += 601
    #expect(desk.bound(2, asking: mine) == mine)
  }

  @Test("only its holder can RELEASE an address")
  func release() throws {
    let desk = Desk()
    let mine = try #require(desk.bound(1))
    #expect(desk.handle(.release(mine), 2) == LeaseDecision(outcome: .silence, reason: .notHolder))
    #expect(desk.handle(.release(mine), 1).outcome == .silence)
  }

  @Test("a reservation comes before everything and is given to nobody else, in and outside the pool")
  func reservations() {
    let desk = Desk()
    desk.reserved = [address("10.0.0.100"): card(9), address("10.0.0.20"): card(8)]
    #expect(desk.bound(1) == address("10.0.0.101"))
    #expect(desk.offered(2, asking: address("10.0.0.20")) == address("10.0.0.102"))
    #expect(desk.bound(9) == address("10.0.0.100"))
    #expect(desk.bound(8) == address("10.0.0.20"))
    #expect(desk.handle(.renew(address("10.0.0.20")), 8).outcome == .acknowledge(address("10.0.0.20")))
  }

  @Test("a reservation made while the client runs is given at its next boot; renewing goes on until then")
  func lateReservation() throws {
    let desk = Desk()
    let mine = try #require(desk.bound(1))
    desk.reserved = [address("10.0.0.20"): card(1)]
    #expect(desk.handle(.renew(mine), 1).outcome == .acknowledge(mine))
    #expect(desk.handle(.reboot(mine), 1).outcome == .refuse(mine))
    let offer = try #require(desk.offered(1))
    #expect(offer == address("10.0.0.20"))
    let decision = desk.handle(.select(offer), 1)
    // The old address is free again, and both are written.
    #expect(decision.changes.map(\.address) == [mine, offer])
    #expect(decision.changes.map(\.state) == [.released, .bound])
  }

  @Test("an address set aside for another client is refused when it is to be renewed, and reaches its owner")
  func reservationOfAHeldAddress() throws {
    let desk = Desk()
    let mine = try #require(desk.bound(1))
    desk.reserved = [mine: card(9)]
    #expect(desk.offered(9) != mine)
    #expect(desk.handle(.renew(mine), 1) == LeaseDecision(outcome: .refuse(mine), reason: .reservedForOther))
    #expect(desk.bound(1) != mine)
    #expect(desk.offered(9) == mine)
  }

  @Test("the server's own, the network's and the broadcast address are never given out")
  func neverGiven() {
    let desk = Desk()
    desk.machine = Self.machine("10.0.0.0-10.0.0.2")
    #expect(desk.bound(1) == address("10.0.0.2"))
    #expect(desk.bound(2) == nil)
    desk.machine = Self.machine("10.0.0.255-10.0.0.255")
    #expect(desk.bound(1) == nil)
  }

  @Test("after a restart every lease on record is honoured, and the best of several counts")
  func restart() throws {
    let leases = [
      Lease(address: address("10.0.0.100"), holder: .hardware(card(1)), state: .bound, expires: 1500),
      Lease(address: address("10.0.0.101"), holder: .hardware(card(1)), state: .released, expires: 900),
      Lease(address: address("10.0.0.102"), holder: .hardware(card(2)), state: .declined, expires: 1400),
      Lease(address: address("192.0.2.1"), holder: .hardware(card(3)), state: .bound, expires: 1500),
    ]
    for order in [leases, leases.reversed()] {
      let desk = Desk()
      desk.machine = Self.machine("10.0.0.100-10.0.0.103", leases: order)
      #expect(desk.bound(4) == address("10.0.0.103"))
      #expect(desk.offered(1) == address("10.0.0.100"))
      #expect(desk.bound(5) == address("10.0.0.101"))
      #expect(desk.bound(6) == nil)
      desk.now = 1401
      #expect(desk.bound(6) == address("10.0.0.102"))
    }
  }

  @Test("a pool of 100,000 is given out whole, each address once, and again when the leases are over")
  func largePool() {
    let machine = LeaseMachine(
      networks: [
        LeaseNetwork(subnet: IPv4Subnet("10.0.0.0/8")!, ranges: [IPv4Range("10.1.0.0-10.2.134.159")!])
      ], leaseSeconds: 600)
    func bind(_ number: UInt64, at now: Int64) -> IPv4Address? {
      let client = LeaseClient(holder: .hardware(card(number)))
      guard
        case .offer(let offer) = machine.handle(.discover(requested: nil), from: client, network: 0, now: now).outcome,
        case .acknowledge(let address) = machine.handle(.select(offer), from: client, network: 0, now: now).outcome
      else { return nil }
      return address
    }
    #expect(Set((1...100_000).compactMap { bind($0, at: 1000) }).count == 100_000)
    #expect(bind(100_001, at: 1000) == nil)
    #expect(Set((200_001...220_000).compactMap { bind($0, at: 2000) }).count == 20_000)
  }
}
