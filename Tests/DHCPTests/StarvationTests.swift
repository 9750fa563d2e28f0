import NetworkTypes
import Testing

@testable import DHCP

/// Too many clients for a pool: registered machines come before others.
struct StarvationTests {
  private typealias Desk = LeaseMachineTests.Desk

  private func desk(_ pool: String, known: [UInt64]) -> Desk {
    let desk = Desk()
    desk.machine = LeaseMachineTests.machine(pool)
    desk.known = Set(known.map(card))
    return desk
  }

  @Test("a registered machine finds its address again, however many others ask after its lease has ended")
  func keepsItsAddress() throws {
    let desk = desk("10.0.0.100-10.0.0.109", known: [1])
    let mine = try #require(desk.bound(1))
    desk.now += 10_000
    let others = (100...300).compactMap { desk.bound($0) }
    #expect(others.count == 9 && !others.contains(mine))
    #expect(desk.offered(400, asking: mine) == nil)
    #expect(desk.handle(.select(mine), 400).outcome == .refuse(mine))
    #expect(desk.bound(1) == mine)
  }

  @Test("offers that nobody takes up give way to a registered machine, the oldest first; one that is taken up does not")
  func takesThePlaceOfOffers() throws {
    let desk = desk("10.0.0.100-10.0.0.102", known: [1, 2, 3])
    let oldest = try #require(desk.offered(100))
    desk.now += 1
    #expect(desk.bound(101) != nil)
    let newest = try #require(desk.offered(102))
    #expect(desk.offered(103) == nil)
    let decision = desk.handle(.discover(requested: nil), 1)
    #expect(decision.outcome == .offer(oldest) && decision.reason == .reclaimed)
    #expect(desk.handle(.select(oldest), 100).outcome == .refuse(oldest))
    #expect(desk.bound(1) == oldest)
    #expect(desk.bound(2) == newest)
    // Leases are kept, and so are offers to registered machines.
    #expect(desk.offered(3) == nil)
  }

  @Test("registered machines that have no address yet find one each, in half of the pool at most")
  func leavesRoom() throws {
    let desk = desk("10.0.0.100-10.0.0.109", known: [1, 2, 3])
    desk.waiting = 3
    let others = (100...300).compactMap { desk.bound($0) }
    #expect(others.count == 7)
    // Begun all at once, the others are refused in the end.
    #expect((1...3).compactMap { desk.bound($0) }.count == 3)
    let many = self.desk("10.0.0.100-10.0.0.109", known: [])
    many.waiting = 1000
    let offers = (100...300).compactMap { number in many.offered(number).map { (number, $0) } }
    let bound = offers.filter { many.handle(.select($0.1), $0.0).outcome == .acknowledge($0.1) }
    #expect(bound.count == 5)
    // What others have they keep, and what their like has left they get.
    #expect(many.handle(.renew(bound[0].1), bound[0].0).reason == .renewed)
    many.now += 700
    #expect((400...600).compactMap { many.bound($0) }.count == 5)
  }

  @Test("who was offered what it may not have after all is offered nothing more, and gets an address when one is free")
  func refusedOnce() {
    let desk = desk("10.0.0.100-10.0.0.109", known: [])
    desk.waiting = 1000
    let offers = (1...10).map { number in (number, desk.offered(number)) }
    #expect(offers.allSatisfy { $0.1 != nil })
    #expect((1...5).compactMap { desk.bound($0) }.count == 5)
    #expect(desk.bound(6) == nil)
    // It goes on asking, more often than an offer lasts.
    for _ in 0..<6 {
      desk.now += 10
      #expect(desk.offered(6) == nil)
    }
    desk.now += 600
    #expect(desk.bound(6) != nil)
  }

  @Test("one registered machine gets what another had where nothing else is left; deleted ones keep nothing")
  func amongThemselves() throws {
    let desk = desk("10.0.0.100-10.0.0.101", known: [1, 2, 3])
    let first = try #require(desk.bound(1))
    let second = try #require(desk.bound(2))
    desk.now += 700
    #expect(desk.bound(100) == nil)
    #expect(desk.bound(3) == first || desk.bound(3) == second)
    let left = desk.machine.lease(at: first)?.holder == .hardware(card(3)) ? second : first
    desk.known = [card(3)]
    desk.now += 601
    #expect(desk.bound(100) == left)
  }
}
