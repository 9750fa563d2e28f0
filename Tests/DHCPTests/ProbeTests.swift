import NetworkTypes
import Testing

@testable import DHCP

/// Addresses probed before they are offered.
struct ProbeTests {
  private typealias Desk = LeaseMachineTests.Desk

  private func desk(_ pool: String = "10.0.0.100-10.0.0.199", reserve: Int = 8) -> Desk {
    let desk = Desk()
    desk.machine = LeaseMachineTests.machine(pool, reserve: reserve)
    return desk
  }

  private func ask(_ desk: Desk, atMost count: Int = 100) -> [IPv4Address] {
    desk.machine.addressesToProbe(network: 0, atMost: count, now: desk.now, book: desk.book)
  }

  /// Probes what is to be probed, and finds nobody.
  private func fill(_ desk: Desk) {
    for address in ask(desk) { desk.machine.silent(address, network: 0, now: desk.now) }
  }

  private func heard(_ desk: Desk, _ text: String, _ card: MACAddress?) -> ProbeFinding {
    desk.machine.heard(from: address(text), card, network: 0, now: desk.now)
  }

  @Test("so many addresses are probed as the reserve has room for, and no more than are asked for at once")
  func reserveIsFilled() {
    let desk = desk()
    #expect(ask(desk, atMost: 3) == ["10.0.0.100", "10.0.0.101", "10.0.0.102"].map(address))
    #expect(ask(desk).count == 5)
    #expect(ask(desk).isEmpty)
    // A pool smaller than the reserve is probed whole, but for what can be nobody's.
    let small = self.desk("10.0.0.1-10.0.0.3")
    #expect(ask(small) == ["10.0.0.2", "10.0.0.3"].map(address))
  }

  @Test("an offer takes from the reserve, which is then filled up; without any probed address it is made and said")
  func offersTakeFromTheReserve() {
    let desk = desk(reserve: 2)
    let first = desk.handle(.discover(requested: nil), 1)
    #expect(first.outcome == .offer(address("10.0.0.100")) && first.isUnprobed)
    fill(desk)
    for number in 2...3 as ClosedRange<UInt64> {
      let decision = desk.handle(.discover(requested: nil), number)
      #expect(decision.outcome == .offer(address("10.0.0.10\(number - 1)")) && !decision.isUnprobed)
      #expect(decision.reason == .neverUsed)
    }
    #expect(desk.handle(.discover(requested: nil), 4).isUnprobed)
    #expect(ask(desk).count == 2)
  }

  @Test("a client that comes back gets its address unprobed, and that is not counted as one")
  func formerHolder() throws {
    let desk = desk()
    fill(desk)
    let mine = try #require(desk.bound(1))
    desk.now += 10_000
    let decision = desk.handle(.discover(requested: nil), 1)
    #expect(decision.outcome == .offer(mine) && !decision.isUnprobed && decision.reason == .heldBefore)
  }

  @Test("a reserved address is neither probed nor counted")
  func reservations() {
    let desk = desk("10.0.0.100-10.0.0.102")
    desk.reserved = [address("10.0.0.101"): card(9)]
    #expect(ask(desk) == ["10.0.0.100", "10.0.0.102"].map(address))
    #expect(!desk.handle(.discover(requested: nil), 9).isUnprobed)
  }

  @Test("an address that a stranger answers for is nobody's for ten minutes, also after a restart; then it is probed")
  func strangers() {
    let desk = desk("10.0.0.100-10.0.0.101")
    #expect(ask(desk).count == 2)
    let lease = Lease(address: address("10.0.0.100"), holder: .hardware(card(66)), state: .declined, expires: 1600)
    #expect(heard(desk, "10.0.0.100", card(66)) == .stranger(lease))
    #expect(heard(desk, "10.0.0.100", card(66)) == .none)
    desk.machine.silent(address("10.0.0.101"), network: 0, now: desk.now)
    #expect(desk.bound(1) == address("10.0.0.101"))
    #expect(desk.offered(2, asking: lease.address) == nil)
    #expect(ask(desk).isEmpty)
    let restarted = self.desk("10.0.0.100-10.0.0.101")
    restarted.machine = LeaseMachineTests.machine("10.0.0.100-10.0.0.100", leases: [lease], reserve: 8)
    #expect(restarted.offered(2) == nil)
    restarted.now = 1600
    #expect(ask(restarted) == [lease.address])
  }

  @Test("a stranger that shows itself after the probe has ended is believed, too; one without a card as well")
  func lateStrangers() {
    let desk = desk("10.0.0.100-10.0.0.101")
    fill(desk)
    guard case .stranger = heard(desk, "10.0.0.100", card(66)) else { return #expect(Bool(false)) }
    #expect(
      heard(desk, "10.0.0.101", nil)
        == .stranger(Lease(address: address("10.0.0.101"), holder: .nobody, state: .declined, expires: 1600)))
    #expect(desk.offered(1) == nil)
  }

  @Test("who has a lease or an offer of an address is no stranger to it")
  func holders() throws {
    let desk = desk("10.0.0.100-10.0.0.100")
    #expect(ask(desk).count == 1)
    // Offered while its probe was on its way, since there is no other.
    let mine = try #require(desk.offered(1))
    #expect(heard(desk, "\(mine)", card(1)) == .none)
    #expect(desk.bound(1) == mine)
    #expect(heard(desk, "\(mine)", card(66)) == .none)
    desk.machine.silent(mine, network: 0, now: desk.now)
    #expect(desk.offered(2) == nil)
    desk.now += 601
    #expect(desk.offered(2) != nil)
  }

  @Test("before the first probes have ended, addresses are offered in their order, unprobed")
  func order() {
    let desk = desk(reserve: 8)
    #expect(ask(desk, atMost: 4).count == 4)
    for number in 0..<6 as Range<UInt64> {
      let decision = desk.handle(.discover(requested: nil), number + 1)
      #expect(decision.outcome == .offer(address("10.0.0.10\(number)")) && decision.isUnprobed)
    }
    // What was given out while it was asked for is nobody else's when nobody answers for it.
    for number in 0..<4 { desk.machine.silent(address("10.0.0.10\(number)"), network: 0, now: desk.now) }
    #expect(desk.offered(7) == address("10.0.0.106"))
  }

  @Test("an offer is withdrawn when a stranger answers for its address, and its client is refused")
  func withdrawn() throws {
    let desk = desk("10.0.0.100-10.0.0.100")
    #expect(ask(desk).count == 1)
    let mine = try #require(desk.offered(1))
    guard case .stranger = heard(desk, "\(mine)", card(66)) else { return #expect(Bool(false)) }
    #expect(desk.handle(.select(mine), 1).outcome == .refuse(mine))
  }

  @Test("who goes on using an address after its lease has ended keeps others from it, and can have it again")
  func formerHolderGoesOn() throws {
    let desk = desk("10.0.0.100-10.0.0.100")
    fill(desk)
    let mine = try #require(desk.bound(1))
    desk.now += 10_000
    #expect(ask(desk) == [mine])
    #expect(heard(desk, "\(mine)", card(1)) == .formerHolder)
    #expect(desk.offered(2) == nil)
    #expect(desk.bound(1) == mine)
  }

  @Test("probes are repeated after five minutes, and count as none after ten")
  func refresh() {
    let desk = desk("10.0.0.100-10.0.0.199", reserve: 2)
    fill(desk)
    desk.now += 299
    #expect(ask(desk).isEmpty)
    desk.now += 1
    #expect(ask(desk, atMost: 1) == [address("10.0.0.100")])
    #expect(ask(desk) == [address("10.0.0.101")])
    #expect(ask(desk).isEmpty)
    desk.machine.silent(address("10.0.0.100"), network: 0, now: desk.now)
    desk.now += 301
    #expect(desk.handle(.discover(requested: nil), 1).isUnprobed)
    #expect(!desk.handle(.discover(requested: nil), 2).isUnprobed)
  }

  @Test("a card that answers for everything blocks 32 addresses, and is not believed any more")
  func proxyARP() {
    let desk = desk(reserve: 100)
    let findings = ask(desk).map { desk.machine.heard(from: $0, card(66), network: 0, now: desk.now) }
    #expect(findings.count { if case .stranger = $0 { true } else { false } } == 32)
    #expect(findings.count { $0 == .answersForOthers } == 68)
    #expect((1...100).compactMap { desk.offered($0) }.count == 68)
  }

  @Test("an address that cannot be probed is still given out, once")
  func unreachable() {
    let desk = desk("10.0.0.100-10.0.0.101")
    for address in ask(desk) { desk.machine.unprobed(address, network: 0, now: desk.now) }
    #expect(Set((1...3).compactMap { desk.offered($0) }).count == 2)
  }

  @Test("a pool of 65,000 is given out whole, each address once, with a reserve that is filled as it empties")
  func largePool() {
    let desk = Desk()
    desk.machine = LeaseMachine(
      networks: [LeaseNetwork(subnet: IPv4Subnet("10.0.0.0/8")!, ranges: [IPv4Range("10.1.0.1-10.1.253.232")!])],
      leaseSeconds: 600, reserveSize: 256)
    var bound: Set<IPv4Address> = []
    var unprobed = 0
    for number in 1...65_000 as ClosedRange<UInt64> {
      // The reserve stands still for every second hundred clients.
      if number / 100 % 2 == 0, number % 10 == 0 { fill(desk) }
      let decision = desk.handle(.discover(requested: nil), number)
      guard case .offer(let address) = decision.outcome else { continue }
      if decision.isUnprobed { unprobed += 1 }
      if case .acknowledge(let address) = desk.handle(.select(address), number).outcome { bound.insert(address) }
    }
    #expect(bound.count == 65_000)
    #expect(unprobed < 1000)
    #expect(desk.offered(70_000) == nil)
    desk.now += 700
    #expect(Set((70_000...71_000).compactMap { desk.bound($0) }).count == 1001)
  }
}

struct ProbeScheduleTests {
  private func targets(_ count: Int) -> [ProbeSchedule.Target] {
    (0..<count).map { .init(address: IPv4Address(rawValue: 0x0A00_0064 + UInt32($0)), network: 0) }
  }

  @Test("each address is asked twice, half a second apart, and is silent half a second after that")
  func twice() {
    var schedule = ProbeSchedule()
    let two = targets(2)
    #expect(schedule.begin(at: 0) { _ in two } == two)
    #expect(schedule.due(at: 499) == ([], []))
    #expect(schedule.due(at: 500) == (two, []))
    schedule.end(two[0].address)
    #expect(schedule.due(at: 999) == ([], []))
    #expect(schedule.due(at: 1000) == ([], [two[1]]))
    #expect(schedule.due(at: 5000) == ([], []))
  }

  @Test("no more than 64 addresses are begun in a second")
  func rate() {
    var schedule = ProbeSchedule()
    var begun = 0
    for now in 0..<1000 { begun += schedule.begin(at: now) { targets($0) }.count }
    #expect(begun == 64)
  }
}

private func == (
  _ left: (again: [ProbeSchedule.Target], silent: [ProbeSchedule.Target]),
  _ right: ([ProbeSchedule.Target], [ProbeSchedule.Target])
) -> Bool { left.again == right.0 && left.silent == right.1 }

struct ARPFrameTests {
  @Test("a probe has no sender's address, and is as long as Ethernet wants")
  func probe() {
    #expect(
      ARPFrame.probe(for: address("10.0.0.100"), from: MACAddress("52:54:00:12:34:56")!)
        == padded(
          hex(
            """
            ffffffffffff 525400123456 0806  # to everyone
            0001 0800 06 04 0001            # Ethernet, IPv4, request
            525400123456 00000000           # from us, who have no address
            000000000000 0a000064           # for 10.0.0.100
            """), to: 60))
  }

  @Test("an answer names card and address; probes of others and what is no ARP name nobody")
  func answer() {
    let answer = hex(
      """
      525400123456 020000000066 0806
      0001 0800 06 04 0002
      020000000066 0a000064
      525400123456 00000000
      """)
    let read = ARPFrame(answer.span)
    #expect(read?.card == MACAddress("02:00:00:00:00:66") && read?.address == address("10.0.0.100"))
    #expect(ARPFrame(ARPFrame.probe(for: address("10.0.0.100"), from: card(1)).span) == nil)
    for index in 12..<20 {
      var other = answer
      other[index] ^= 0x10
      #expect(ARPFrame(other.span) == nil, "byte \(index)")
    }
    for count in 0..<42 { #expect(ARPFrame(Array(answer[..<count]).span) == nil) }
  }
}
