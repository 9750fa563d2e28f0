import Testing

@testable import TFTP

/// The machine against a client that keeps RFC 1350 and 7440, over a wire that loses, doubles and reorders packets.
/// Time is a number here: hours pass in a moment, and each seed is the same in every run.
struct LossyWireTests {
  struct Wire: Sendable, CustomStringConvertible {
    var loss = 0.0
    var duplication = 0.0
    var reordering = 0.0

    var description: String { "loss \(loss), duplication \(duplication), reordering \(reordering)" }
  }

  static let wires = [
    Wire(), Wire(loss: 0.01), Wire(loss: 0.05), Wire(loss: 0.2), Wire(duplication: 0.5), Wire(reordering: 0.2),
    Wire(loss: 0.05, duplication: 0.2, reordering: 0.2),
  ]

  /// A client drops what follows a gap, so a sender of whole windows would send 64 blocks for each 4 that arrive here
  /// where every fifth packet is lost: 16 times the content.
  @Test(arguments: wires, [1, 4, 16, 64])
  func everyTransferEndsWithTheRightBlocksAndNoneIsSentMoreThan2Point6Times(wire: Wire, window: Int) {
    for seed in 1...10 as ClosedRange<UInt64> {
      var run = Simulation(wire: wire, window: window, blocks: 700, seed: seed)
      run.run()
      let (received, ending) = (run.received, run.ending)
      #expect(received == 700, "seed \(seed): \(received) of 700 blocks")
      #expect(ending == .finished, "seed \(seed)")
      let factor = Double(run.blocksSent) / 700
      #expect(factor < (wire.loss < 0.2 ? 1.7 : 2.6), "seed \(seed): each block was sent \(factor) times")
    }
  }

  /// Where the one word of a gap is lost too, nothing tells a sender to stop before the window's end.
  @Test(arguments: wires, [4, 16, 64])
  func aClientThatTellsOfAGapOnlyOnceIsServedToo(wire: Wire, window: Int) {
    for seed in 1...10 as ClosedRange<UInt64> {
      var run = Simulation(wire: wire, window: window, blocks: 700, seed: seed, tellsOnce: true)
      run.run()
      let (received, ending) = (run.received, run.ending)
      #expect(received == 700 && ending == .finished, "seed \(seed): \(received) of 700 blocks")
      let factor = Double(run.blocksSent) / 700
      let limit = wire.loss < 0.2 ? 2.2 : window == 4 ? 2.6 : window == 16 ? 3.3 : 9
      #expect(factor < limit, "seed \(seed): each block was sent \(factor) times")
    }
  }

  @Test func aSingleLossCostsLittleTime() {
    // The window that was agreed upon stays: a client of RFC 7440 never waits for its own timer, a second here.
    for seed in 1...10 as ClosedRange<UInt64> {
      var run = Simulation(wire: Wire(reordering: 0.01), window: 16, blocks: 700, seed: seed)
      run.run()
      #expect(run.ending == .finished && run.now < .milliseconds(500), "seed \(seed): \(run.now) ns")
    }
  }

  @Test func aCleanWireCarriesEachBlockOnce() {
    for window in [1, 4, 64] {
      var run = Simulation(wire: Wire(), window: window, blocks: 700, seed: 3)
      run.run()
      #expect(run.blocksSent == 700 && run.ending == .finished)
    }
  }

  @Test func doubledPacketsDoNotDoubleTheTraffic() {
    // Sorcerer's Apprentice: every packet arrives twice, in both directions.
    var run = Simulation(wire: Wire(duplication: 1), window: 1, blocks: 700, seed: 3)
    run.run()
    #expect(run.blocksSent == 700 && run.ending == .finished)
  }
}

private struct Simulation {
  enum Packet {
    case toServer(acknowledgement: UInt16)
    case toClient(block: Int64)
    case clientTimer(generation: Int)
    case serverTimer
  }

  private var random: SeededGenerator
  private let wire: LossyWireTests.Wire
  private let window: Int
  private let blocks: Int64
  private var machine: Transfer
  private var agenda = TimerQueue()
  private var packets: [Packet] = []
  /// When the wire has carried all it was given.
  private var wireIsFreeAt: Nanoseconds = 0
  private(set) var now: Nanoseconds = 0

  // The client: what it has in order, and how much of a window since its last ACK.
  private(set) var received: Int64 = -1
  private var sinceAcknowledgement = 0
  private var timerGeneration = 0
  private var toldOfGap = false
  private let tellsOnce: Bool

  private(set) var blocksSent = 0
  private(set) var ending: Transfer.Ending?

  init(wire: LossyWireTests.Wire, window: Int, blocks: Int, seed: UInt64, tellsOnce: Bool = false) {
    self.wire = wire
    self.tellsOnce = tellsOnce
    self.window = window
    self.blocks = Int64(blocks)
    random = SeededGenerator(seed: seed)
    let size = (blocks - 1) * 512 + 1
    let options = [Request.Option(name: Array("windowsize".utf8), value: Array("\(window)".utf8))]
    machine = Transfer(
      .init(
        size: size, negotiation: Negotiation(options, limits: .init(mtu: 1500), size: size), requestSize: 40,
        firstAnswerSize: 20))
  }

  mutating func run() {
    perform(machine.begin(at: now))
    armClient()
    var steps = 0
    while ending == nil, steps < 1_000_000 {
      steps += 1
      guard let next = agenda.next, let entry = agenda.popDue(at: next) else { return }
      now = entry.time
      switch packets[Int(entry.token)] {
      case .toServer(let number): perform(machine.acknowledge(number, at: now))
      case .toClient(let block): clientReceives(block)
      case .clientTimer(timerGeneration): if received < blocks { acknowledge() }
      case .clientTimer: break
      case .serverTimer: if now >= machine.deadline { perform(machine.timerFired(at: now)) }
      }
    }
  }

  private mutating func perform(_ step: Transfer.Step) {
    ending = step.ending
    guard ending == nil else { return }
    for block in step.send {
      if block > 0 { blocksSent += 1 }
      carry(.toClient(block: block))
    }
    schedule(.serverTimer, after: machine.deadline - now)
  }

  private mutating func clientReceives(_ block: Int64) {
    guard block != received + 1 else {
      received = block
      sinceAcknowledgement += 1
      toldOfGap = false
      if block == 0 || block == blocks || sinceAcknowledgement == window { acknowledge() }
      return
    }
    // RFC 7440 section 4: on a gap the last block in order is acknowledged. What came before is old.
    if block > received, !toldOfGap || !tellsOnce, received >= 0 {
      acknowledge()
      toldOfGap = true
    } else if block == blocks, received == blocks {
      acknowledge()
    }
  }

  private mutating func acknowledge() {
    guard received >= 0 else {
      armClient()
      return
    }
    sinceAcknowledgement = 0
    carry(.toServer(acknowledgement: UInt16(truncatingIfNeeded: received)))
    armClient()
  }

  private mutating func armClient() {
    timerGeneration += 1
    schedule(.clientTimer(generation: timerGeneration), after: .seconds(1))
  }

  private mutating func carry(_ packet: Packet) {
    let copies = Double.random(in: 0..<1, using: &random) < wire.duplication ? 2 : 1
    for _ in 0..<copies where Double.random(in: 0..<1, using: &random) >= wire.loss {
      // A microsecond for each packet, and 100 to the other end.
      wireIsFreeAt = max(wireIsFreeAt, now) + 1000
      let late = Double.random(in: 0..<1, using: &random) < wire.reordering
      schedule(packet, after: wireIsFreeAt - now + (late ? .random(in: 100_000...110_000, using: &random) : 100_000))
    }
  }

  private mutating func schedule(_ packet: Packet, after delay: Nanoseconds) {
    agenda.add(UInt64(packets.count), at: now + max(delay, 0))
    packets.append(packet)
  }
}
