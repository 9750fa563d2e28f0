import Testing

@testable import DHCP

@Suite("Turns of the reading thread")
struct TurnsTests {
  @Test("a client that comes alone is answered at once, and so are a few")
  func alone() {
    var turns = Turns()
    for exchange in 0..<10 as Range<Int64> {
      for packet in 0..<Turns.burst {
        let beginning = exchange * 1_000_000_000 + packet * 30_000
        let pause = turns.pause(from: beginning, to: beginning + 10_000)
        #expect(pause == nil)
      }
    }
  }

  @Test("of many that come one behind the other those of an interval are answered together")
  func many() {
    var turns = Turns()
    var now: Int64 = 0
    var count: Int64 = 0
    while now < 1_000_000_000 {
      // A packet is there each time, and takes a while.
      let pause = turns.pause(from: now, to: now + 20_000)
      #expect((pause ?? 0) <= Turns.interval)
      now += 20_000 + (pause ?? 0)
      count += 1
    }
    #expect(count <= 1_000_000_000 / Turns.interval + Turns.burst + 1)
    #expect(count >= 1_000_000_000 / Turns.interval)
  }

  @Test("turns that take longer than an interval follow each other at once")
  func busy() {
    var turns = Turns()
    for index in 0..<100 as Range<Int64> {
      let pause = turns.pause(from: index * 2 * Turns.interval, to: (index + 1) * 2 * Turns.interval)
      #expect(pause == nil)
    }
  }
}
