// A transfer's machine, with a client and a clock that do anything.
//
// module TFTP: Sources/TFTP/Wire/*.swift Sources/TFTP/Transfer/*.swift
import TFTP

/// A transfer, and a client and a clock that do anything: what may never happen does not, and a client that
/// behaves from then on still gets the whole file.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  var run = Run(Input(bytes: UnsafeBufferPointer(start: start, count: count)))
  run.anything()
  run.behaving()
  return 0
}

private struct Input {
  let bytes: UnsafeBufferPointer<UInt8>
  var index = 0

  var isAtEnd: Bool { index >= bytes.count }

  mutating func next() -> Int {
    defer { index += 1 }
    return isAtEnd ? 0 : Int(bytes[index])
  }

  mutating func next16() -> Int { next() << 8 | next() }
}

private struct Run {
  private var input: Input
  private var transfer: Transfer
  private var now: Nanoseconds = 0
  private var isOver = false
  private let window: Int
  private var packetsIn = 1
  private var blocksOut = 0
  /// Since the last progress: what a repeated ACK may draw.
  private var repeatsAnswered = 0

  init(_ input: Input) {
    var input = input
    var options: [Request.Option] = []
    let flags = input.next()
    func add(_ name: String, _ value: Int) {
      options.append(Request.Option(name: Array(name.utf8), value: Array(String(value).utf8)))
    }
    if flags & 1 != 0 { add("blksize", 8 + input.next16()) }
    if flags & 2 != 0 { add("windowsize", 1 + input.next16()) }
    if flags & 4 != 0 { add("timeout", 1 + input.next()) }
    if flags & 8 != 0 { add("tsize", 0) }
    let size = flags & 16 != 0 ? input.next16() << 4 : input.next16()
    let negotiation = Negotiation(options, limits: .init(mtu: 1500), size: size)
    window = negotiation.windowSize
    transfer = Transfer(
      Transfer.Parameters(
        size: size, negotiation: negotiation, numbering: flags & 32 != 0 ? .rollsOverToOne : .rollsOverToZero,
        requestSize: 20, firstAnswerSize: negotiation.acknowledged.isEmpty ? negotiation.blockSize + 4 : 40))
    self.input = input
    check(transfer.begin(at: 0), acknowledged: -1)
  }

  private mutating func check(_ step: Transfer.Step, acknowledged: Int64) {
    if step.ending != nil {
      isOver = true
      precondition(step.send.isEmpty)
      return
    }
    precondition(transfer.acknowledged >= acknowledged, "what was acknowledged is not any more")
    precondition(transfer.acknowledgedBytes <= transfer.parameters.size)
    guard !step.send.isEmpty else { return }
    precondition(step.send.count <= window, "more than a window")
    precondition(step.send.lowerBound > transfer.acknowledged, "a block that the client has")
    precondition(step.send.upperBound - 1 <= transfer.acknowledged + Int64(window), "a block beyond the window")
    precondition(step.send.upperBound - 1 <= transfer.lastBlock, "a block that there is not")
    precondition(transfer.isConfirmed || step.send.count == 1, "more than one packet to who may be someone else")
    blocksOut += step.send.count
    if !transfer.isConfirmed {
      let bytes = blocksOut * transfer.parameters.firstAnswerSize
      let limit = Transfer.amplification * 20 * packetsIn
      precondition(bytes <= max(limit, transfer.parameters.firstAnswerSize * packetsIn), "too much for so little")
    }
  }

  private mutating func acknowledge(_ number: UInt16) {
    let before = transfer.acknowledged
    let step = transfer.acknowledge(number, at: now)
    if transfer.acknowledged > before {
      repeatsAnswered = 0
    } else if !step.send.isEmpty {
      repeatsAnswered += 1
      precondition(repeatsAnswered <= 1, "a repeated ACK was answered again")
    }
    check(step, acknowledged: before)
  }

  private mutating func timer() {
    let before = transfer.acknowledged
    repeatsAnswered = 0
    let step = transfer.timerFired(at: now)
    precondition(step.ending != nil || !step.send.isEmpty || transfer.deadline > now, "the timer would spin")
    check(step, acknowledged: before)
  }

  mutating func anything() {
    while !isOver, !input.isAtEnd {
      let before = transfer.acknowledged
      switch input.next() & 7 {
      case 0: acknowledge(UInt16(input.next16()))
      case 1: acknowledge(transfer.parameters.numbering.wire(transfer.sent))
      case 2:
        let block = max(0, transfer.acknowledged + Int64(input.next() % (window + 2)))
        acknowledge(transfer.parameters.numbering.wire(block))
      case 3: acknowledge(transfer.parameters.numbering.wire(max(0, transfer.acknowledged)))
      case 4:
        now = max(now, transfer.deadline)
        timer()
      case 5: now += Nanoseconds(input.next16()) << Nanoseconds(input.next() % 20)
      case 6:
        packetsIn += 1
        check(transfer.requestRepeated(at: now), acknowledged: before)
      default: timer()
      }
    }
  }

  /// From here on every packet arrives, and the client answers as RFC 7440 says.
  mutating func behaving() {
    guard !isOver else { return }
    let start = now
    var received = transfer.acknowledged
    var windowEnd = received + Int64(received < 0 ? 1 : window)
    var rounds = 0
    while !isOver {
      rounds += 1
      precondition(rounds < 1_000_000, "the transfer never ends")
      now = max(now, transfer.deadline)
      // Given up meanwhile: it had been silent for long.
      let before = transfer.acknowledged
      var step = transfer.timerFired(at: now)
      repeatsAnswered = 0
      check(step, acknowledged: before)
      while !isOver, !step.send.isEmpty {
        let hadAll = received
        for block in step.send where block == received + 1 { received = block }
        let isWhole = received >= windowEnd || received == transfer.lastBlock || received == 0
        guard received > hadAll || step.send.upperBound <= received + 1 else { break }
        guard isWhole || step.send.upperBound - 1 < received else { break }
        windowEnd = received + Int64(window)
        now += 1000
        let last = transfer.acknowledged
        step = transfer.acknowledge(transfer.parameters.numbering.wire(received), at: now)
        check(step, acknowledged: last)
      }
    }
    precondition(now < start + .seconds(100_000))
  }
}
