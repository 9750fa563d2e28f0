import Testing

@testable import TFTP

/// The sending machine, one paragraph of an RFC or one quirk of a client at a time. Times are nanoseconds.
struct TransferTests {
  /// - Parameter blocks: The content's last block is this one, 10 bytes long.
  private func transfer(
    blocks: Int, window: Int = 1, timeout: Int? = nil, tsize: Bool = false,
    numbering: BlockNumbering = .rollsOverToZero,
    options: Bool = true, requestSize: Int = 40
  ) -> Transfer {
    var asked: [(String, String)] = []
    if window > 1 { asked.append(("windowsize", "\(window)")) }
    if let timeout { asked.append(("timeout", "\(timeout)")) }
    if tsize { asked.append(("tsize", "0")) }
    if asked.isEmpty && options { asked.append(("blksize", "512")) }
    let size = (blocks - 1) * 512 + 10
    let negotiation = Negotiation(
      asked.map { Request.Option(name: Array($0.0.utf8), value: Array($0.1.utf8)) }, limits: .init(mtu: 1500),
      size: size)
    return Transfer(
      Transfer.Parameters(
        size: size, negotiation: negotiation, numbering: numbering, requestSize: requestSize,
        firstAnswerSize: negotiation.acknowledged.isEmpty ? 516 : 40))
  }

  /// A transfer whose OACK was acknowledged after `roundTrip`, and whose first window is under way.
  private func confirmed(
    blocks: Int, window: Int, roundTrip: Nanoseconds = .milliseconds(1), timeout: Int? = nil,
    numbering: BlockNumbering = .rollsOverToZero
  ) -> Transfer {
    var machine = transfer(blocks: blocks, window: window, timeout: timeout, numbering: numbering)
    _ = machine.begin(at: 0)
    _ = machine.acknowledge(0, at: roundTrip)
    return machine
  }

  @Test func withoutOptionsTheAnswerIsBlock1AndWithThemTheOACK() {
    var plain = transfer(blocks: 3, options: false)
    #expect(plain.begin(at: 0) == .send(1..<2))
    var withOptions = transfer(blocks: 3)
    #expect(withOptions.begin(at: 0) == .send(0..<1))
    #expect(withOptions.acknowledge(0, at: 1) == .send(1..<2))
  }

  @Test func lockStepSendsABlockForEachACKAndEndsWithTheLast() {
    var machine = confirmed(blocks: 3, window: 1)
    #expect(machine.acknowledge(1, at: 2) == .send(2..<3))
    #expect(machine.acknowledge(2, at: 3) == .send(3..<4))
    #expect(machine.acknowledge(3, at: 4) == .end(.finished))
    #expect(machine.acknowledgedBytes == 1034 && machine.retransmissions == 0)
  }

  @Test(arguments: [(0, 1), (1, 1), (511, 1), (512, 2), (513, 2), (1024, 3)])
  func aLastBlockShorterThanTheOthersAlwaysFollows(size: Int, blocks: Int64) {
    let machine = Transfer(
      .init(
        size: size, negotiation: Negotiation([], limits: .init(mtu: 1500), size: size), requestSize: 30,
        firstAnswerSize: 516))
    #expect(machine.lastBlock == blocks)
  }

  @Test func aDuplicateACKIsNeverAnswered() {
    // RFC 1123 section 4.2.3.1.
    var machine = confirmed(blocks: 9, window: 1)
    #expect(machine.acknowledge(1, at: 2) == .send(2..<3))
    for _ in 0..<100 { #expect(machine.acknowledge(1, at: 3) == .nothing) }
    #expect(machine.acknowledge(0, at: 3) == .nothing)
    #expect(machine.acknowledge(2, at: 4) == .send(3..<4))
  }

  @Test func anACKOfABlockThatWasNeverSentIsIgnored() {
    var machine = confirmed(blocks: 100, window: 4)
    for number in [5, 6, 100, 65535] as [UInt16] { #expect(machine.acknowledge(number, at: 2) == .nothing) }
    #expect(machine.acknowledge(4, at: 3) == .send(5..<9))
    var lockStep = transfer(blocks: 3)
    _ = lockStep.begin(at: 0)
    #expect(lockStep.acknowledge(1, at: 1) == .nothing, "the OACK is not acknowledged yet")
  }

  @Test func aWindowIsSentAtOnceAndTheNextAfterItsLastACK() {
    var machine = transfer(blocks: 10, window: 4)
    _ = machine.begin(at: 0)
    #expect(machine.acknowledge(0, at: 1) == .send(1..<5))
    #expect(machine.acknowledge(4, at: 2) == .send(5..<9))
    #expect(machine.acknowledge(8, at: 3) == .send(9..<11))
    #expect(machine.acknowledge(10, at: 4) == .end(.finished))
  }

  @Test func afterALossInAWindowItGoesOnBehindTheACKedBlock() {
    // RFC 7440 section 4: an ACK below the window's last block.
    var machine = confirmed(blocks: 100, window: 4)
    #expect(machine.acknowledge(2, at: .milliseconds(2)) == .send(3..<4))
    #expect(machine.acknowledge(2, at: .milliseconds(3)) == .nothing)
    #expect(pieces(3, of: &machine) == [4..<5, 5..<6, 6..<7], "the window stays, its blocks leave one by one")
    #expect(machine.retransmissions == 2)
    #expect(machine.acknowledge(6, at: .milliseconds(9)) == .send(7..<9), "what arrives makes the pieces larger")
    #expect(pieces(1, of: &machine) == [9..<11])
    #expect(machine.acknowledge(10, at: .milliseconds(12)) == .send(11..<15))
  }

  /// What the timer sends next.
  private func pieces(_ count: Int, of machine: inout Transfer) -> [Range<Int64>] {
    (0..<count).map { _ in machine.timerFired(at: machine.deadline).send }
  }

  @Test func wordOfAGapStopsAWindowThatIsBeingSent() {
    var machine = confirmed(blocks: 100, window: 16, roundTrip: .milliseconds(1))
    #expect(machine.acknowledge(4, at: .milliseconds(2)) == .send(5..<9), "a quarter of the window at once")
    #expect(machine.acknowledge(6, at: .milliseconds(4)) == .send(7..<8))
    // The client has 6 and gets 8: 7 was lost, and it says so by repeating itself.
    #expect(machine.timerFired(at: machine.deadline) == .send(8..<9))
    let again = machine.deadline - 1
    #expect(machine.acknowledge(6, at: again) == .send(7..<8))
    for _ in 0..<50 { #expect(machine.acknowledge(6, at: again + 1) == .nothing, "once") }
  }

  @Test func severalACKsOfOneLossAreAnsweredOncePerRoundTrip() {
    var machine = confirmed(blocks: 100, window: 16, roundTrip: .milliseconds(10))
    #expect(machine.acknowledge(2, at: .milliseconds(20)) == .send(3..<7))
    #expect(machine.acknowledge(4, at: .milliseconds(21)) == .nothing)
    #expect(machine.acknowledge(7, at: .milliseconds(22)) == .nothing)
    #expect(machine.deadline == 32_500_000)
    #expect(machine.timerFired(at: machine.deadline) == .send(8..<9))
  }

  @Test func silenceIsAnsweredBySendingAgainLaterEachTime() {
    var machine = transfer(blocks: 9, requestSize: 400)
    _ = machine.begin(at: 0)
    var times: [Nanoseconds] = []
    var ending: Transfer.Ending?
    while ending == nil, times.count < 100 {
      let now = machine.deadline
      let step = machine.timerFired(at: now)
      ending = step.ending
      if !step.send.isEmpty { times.append(now) }
    }
    #expect(times == [1, 3, 7].map { Nanoseconds.seconds($0) })
    #expect(ending == .failed("the client did not answer within 15 seconds"))
  }

  @Test func theTimeToWaitFollowsTheMeasuredRoundTrip() {
    var quick = transfer(blocks: 9)
    _ = quick.begin(at: 0)
    #expect(quick.deadline == .seconds(1))
    _ = quick.acknowledge(0, at: .milliseconds(1))
    #expect(quick.deadline == .milliseconds(51), "the floor")
    let slow = confirmed(blocks: 9, window: 1, roundTrip: .milliseconds(300))
    #expect(slow.deadline == .milliseconds(1200), "300 ms and four times their half later")
  }

  @Test func aRoundTripOfSomethingSentTwiceIsNotMeasured() {
    // Karn: with a round trip longer than thought, the longer wait has to hold until one is measured.
    var machine = confirmed(blocks: 9, window: 1)
    _ = machine.timerFired(at: machine.deadline)
    let answered = machine.deadline - 1
    _ = machine.acknowledge(1, at: answered)
    #expect(machine.deadline == answered + .milliseconds(100))
    _ = machine.acknowledge(2, at: answered + 1)
    #expect(machine.deadline == answered + 1 + .milliseconds(50))
  }

  @Test func whereTheFirstACKWasLostTheClientsOwnWaitIsNotTakenForARoundTrip() {
    // Too short a request for a second answer; a client that repeats its ACK after 5 seconds.
    var machine = transfer(blocks: 9, options: false, requestSize: 22)
    _ = machine.begin(at: 0)
    while machine.deadline < .seconds(5) { #expect(machine.timerFired(at: machine.deadline) == .nothing) }
    #expect(machine.acknowledge(1, at: .seconds(5)) == .send(2..<3))
    #expect(machine.acknowledge(2, at: .seconds(5) + 1) == .send(3..<4))
    #expect(machine.deadline == .seconds(5) + 1 + .milliseconds(50), "the floor: block 2 took a nanosecond")
  }

  @Test func theTimeoutAskedForIsTheLongestWait() {
    var machine = confirmed(blocks: 9, window: 1, timeout: 2)
    var last: Nanoseconds = .milliseconds(1)
    var waits: [Nanoseconds] = []
    for _ in 0..<9 {
      let now = machine.deadline
      guard !machine.timerFired(at: now).send.isEmpty else { break }
      waits.append(now - last)
      last = now
    }
    #expect(waits.max() == .seconds(2))
  }

  @Test func aVanishedClientIsGivenUpAfterABoundedNumberOfPackets() {
    var machine = confirmed(blocks: 1000, window: 16)
    var packets = 0
    var ending: Transfer.Ending?
    var now: Nanoseconds = 0
    while ending == nil, packets < 10_000 {
      now = machine.deadline
      let step = machine.timerFired(at: now)
      packets += step.send.count
      ending = step.ending
    }
    #expect(packets <= 10 * 16)
    #expect(now <= .seconds(25))
    #expect(ending == .failed("the client stopped answering: nothing for 24 seconds after 0 of 511498 bytes"))
  }

  @Test func aClientThatNeverSendsTheLastACKIsNoFailure() {
    var machine = confirmed(blocks: 2, window: 1)
    _ = machine.acknowledge(1, at: 2)
    var ending: Transfer.Ending?
    for _ in 0..<100 where ending == nil { ending = machine.timerFired(at: machine.deadline).ending }
    #expect(ending == .finished)
    #expect(machine.deadline <= .seconds(17))
  }

  @Test func aClientThatLacksTheLastBlocksIsWaitedForUntilItHasRepeatedItsACKTwice() {
    // atftp, after every fifth packet was lost: it lacks 9 and 10, and repeats its ACK 5 seconds after it heard last.
    var machine = confirmed(blocks: 10, window: 16)
    #expect(machine.acknowledge(8, at: .milliseconds(2)) == .send(9..<11))
    var lastSent: Nanoseconds = 0
    while machine.deadline < .seconds(13) {
      let now = machine.deadline
      if !machine.timerFired(at: now).send.isEmpty { lastSent = now }
    }
    #expect(lastSent < .seconds(13))
    // The first repetition was lost, and what was sent meanwhile.
    #expect(machine.acknowledge(8, at: .seconds(13)) == .nothing)
    #expect(!machine.timerFired(at: machine.deadline).send.isEmpty)
  }

  @Test func afterARunOfLossesTheNextOneCostsNoSeconds() {
    var machine = confirmed(blocks: 9, window: 1)
    for _ in 0..<6 { #expect(!machine.timerFired(at: machine.deadline).send.isEmpty) }
    let now = machine.deadline
    #expect(machine.acknowledge(1, at: now) == .send(2..<3))
    #expect(machine.deadline == now + .milliseconds(400))
  }

  @Test func aProbeForTheSizeIsNoFailure() {
    // EDK2 closes with ERROR 8, others with 0.
    for code in [ErrorCode.optionsRefused, .undefined] {
      var machine = transfer(blocks: 9, tsize: true)
      _ = machine.begin(at: 0)
      #expect(machine.clientError(code, text: "User aborted the transfer") == .end(.probed))
    }
  }

  @Test func anyOtherErrorOfTheClientIsAFailureWithItsText() {
    var machine = transfer(blocks: 9, tsize: true)
    _ = machine.begin(at: 0)
    #expect(machine.clientError(.diskFull, text: "full") == .end(.failed("the client ended it with error 3: full")))
    _ = machine.acknowledge(0, at: 1)
    #expect(machine.clientError(.optionsRefused, text: "") == .end(.failed("the client ended it with error 8")))
    var withoutSize = transfer(blocks: 9)
    _ = withoutSize.begin(at: 0)
    #expect(withoutSize.clientError(.optionsRefused, text: "") == .end(.failed("the client ended it with error 8")))
  }

  @Test(arguments: [10, 22, 26, 40, 78, 200, 512])
  func whoeverNeverAnswersGetsAtMost20BytesForEachSent(requestSize: Int) {
    var machine = transfer(blocks: 9, options: false, requestSize: requestSize)
    var bytes = machine.begin(at: 0).send.count * 516
    while true {
      let step = machine.timerFired(at: machine.deadline)
      guard step.ending == nil else { break }
      bytes += step.send.count * 516
    }
    // The answer itself is owed to every request, however short.
    #expect(bytes <= max(516, 20 * requestSize))
  }

  @Test func aRepeatedRequestIsAnsweredAgainUnlessItIsACopy() {
    var machine = transfer(blocks: 9, options: false, requestSize: 22)
    _ = machine.begin(at: 0)
    for _ in 0..<10 { #expect(machine.requestRepeated(at: .milliseconds(1)) == .nothing) }
    #expect(machine.requestRepeated(at: .seconds(1)) == .send(1..<2))
    _ = machine.acknowledge(1, at: .seconds(2))
    #expect(machine.requestRepeated(at: .seconds(3)) == .nothing)
  }

  @Test(arguments: [BlockNumbering.rollsOverToZero, .rollsOverToOne], [1, 64])
  func filesGoOnBeyondBlock65535(numbering: BlockNumbering, window: Int) {
    var machine = transfer(blocks: 200_000, window: window, numbering: numbering)
    _ = machine.begin(at: 0)
    var step = machine.acknowledge(0, at: 1)
    var expected: Int64 = 1
    var now: Nanoseconds = 1
    while step.ending == nil {
      guard step.send.lowerBound == expected, !step.send.isEmpty else {
        Issue.record("block \(expected) was to follow, not \(step.send)")
        return
      }
      expected = step.send.upperBound
      now += 1
      step = machine.acknowledge(numbering.wire(expected - 1), at: now)
    }
    #expect(step.ending == .finished && expected == 200_001)
  }

  @Test func filesOver4GiBAreCountedIn64Bits() {
    let size = 6 << 30
    let machine = Transfer(
      .init(
        size: size, negotiation: Negotiation([], limits: .init(mtu: 1500), size: size), requestSize: 30,
        firstAnswerSize: 516))
    #expect(machine.lastBlock == 12_582_913)
  }
}
