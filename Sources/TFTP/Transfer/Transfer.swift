/// The sending side of one transfer, as a pure state machine: an event and a time go in, what to send comes out,
/// and `deadline` says when to call again. Blocks are numbers here; whoever owns the content makes packets of them.
///
/// Block 0 stands for the OACK: sent in answer to the request, and acknowledged by ACK 0, it is a window of its own.
package struct Transfer: Sendable {
  /// What is to be sent.
  package struct Parameters: Hashable, Sendable {
    /// Bytes of content.
    package var size: Int
    package var negotiation: Negotiation
    package var numbering: BlockNumbering
    /// Bytes of the request packet, and of the first packet that answers it.
    package var requestSize: Int
    package var firstAnswerSize: Int

    package init(
      size: Int, negotiation: Negotiation, numbering: BlockNumbering = .rollsOverToZero, requestSize: Int,
      firstAnswerSize: Int
    ) {
      self.size = size
      self.negotiation = negotiation
      self.numbering = numbering
      self.requestSize = requestSize
      self.firstAnswerSize = firstAnswerSize
    }
  }

  /// Blocks to send now, in order; 0 is the OACK. Empty: nothing.
  package typealias Blocks = Range<Int64>

  package enum Ending: Hashable, Sendable {
    case finished
    /// The client wanted to know the size only.
    case probed
    /// The reason, for a person.
    case failed(String)
  }

  /// What follows from an event.
  package struct Step: Hashable, Sendable {
    package var send: Blocks
    /// Not `nil`: the transfer is over; nothing more is sent, and no event may follow.
    package var ending: Ending?

    static let nothing = Step(send: 0..<0, ending: nil)
    static func send(_ blocks: Blocks) -> Step { Step(send: blocks, ending: nil) }
    static func end(_ ending: Ending) -> Step { Step(send: 0..<0, ending: ending) }
  }

  package let parameters: Parameters
  /// The number of the last block, which is shorter than the others, and may be empty.
  package let lastBlock: Int64
  /// The highest block that was acknowledged; -1 before the OACK was.
  package private(set) var acknowledged: Int64
  /// The highest block that was sent.
  package private(set) var sent: Int64
  /// When `timerFired` is to be called, unless another event moves it.
  package private(set) var deadline: Nanoseconds = 0
  /// Whether the client has acknowledged anything yet. Until then its address may be forged.
  package private(set) var isConfirmed = false
  /// Blocks sent more than once, each time counted.
  package private(set) var retransmissions = 0

  private var roundTrip: RoundTripEstimator
  /// When the blocks under way were sent, where they all were sent once only: their ACK measures a round trip.
  private var flightSentAt: Nanoseconds?
  private var lastSentAt: Nanoseconds = 0
  private var lastProgressAt: Nanoseconds = 0
  private var lastHeardAt: Nanoseconds = 0
  /// When blocks were last sent again because an ACK told of a loss.
  private var lastRecoveryAt: Nanoseconds?
  private var recoveryIsDue = false
  private var pace: Pace
  /// The rest of the window that is being sent piece by piece; empty: all of it was sent.
  private var rest: Blocks = 0..<0
  private var windowBeganAt: Nanoseconds = 0
  /// Whether a repeated ACK has begun the present window anew: only one may.
  private var beganAnew = false
  /// Bytes received from, and sent to, a client that is not confirmed.
  private var bytesIn: Int
  private var bytesOut = 0

  /// Bytes sent per byte received, at most, as long as the client has acknowledged nothing.
  package static let amplification = 20
  /// How long an unconfirmed client is waited for.
  package static let patienceUnconfirmed: Nanoseconds = .seconds(15)
  /// A repeated request sooner than this after its answer is a copy of the first one.
  package static let requestRepeatInterval: Nanoseconds = .milliseconds(250)

  /// Between the pieces of a window as long as no round trip was measured: more than one of a local network.
  private static let pauseUnmeasured: Nanoseconds = .milliseconds(5)

  package init(_ parameters: Parameters) {
    self.parameters = parameters
    // A last block always follows, empty where the size is a multiple: RFC 1350 section 6.
    lastBlock = Int64(parameters.size / parameters.negotiation.blockSize) + 1
    let hasOptions = !parameters.negotiation.acknowledged.isEmpty
    acknowledged = hasOptions ? -1 : 0
    sent = acknowledged
    pace = Pace(window: Int64(parameters.negotiation.windowSize))
    bytesIn = parameters.requestSize
    // RFC 2349: the client's number of seconds is the longest wait; a measured round trip makes it shorter.
    roundTrip = RoundTripEstimator(ceiling: .seconds(parameters.negotiation.timeout ?? 8))
  }

  /// Bytes of content that were acknowledged.
  package var acknowledgedBytes: Int {
    acknowledged >= lastBlock ? parameters.size : Int(max(acknowledged, 0)) * parameters.negotiation.blockSize
  }

  /// The answer to the request: the OACK, or block 1.
  package mutating func begin(at now: Nanoseconds) -> Step {
    lastProgressAt = now
    lastHeardAt = now
    return .send(sendWindow(at: now))
  }

  /// An ACK came, with the number as it was on the wire.
  package mutating func acknowledge(_ number: UInt16, at now: Nanoseconds) -> Step {
    // What was never sent cannot be acknowledged.
    guard sent > acknowledged,
      let block = parameters.numbering.block(number, in: (acknowledged + 1)...sent)
    else {
      guard isConfirmed, number == parameters.numbering.wire(acknowledged) else { return .nothing }
      return acknowledgedAgain(at: now)
    }
    isConfirmed = true
    lastProgressAt = now
    lastHeardAt = now
    acknowledged = block
    guard block < lastBlock else { return .end(.finished) }
    guard block < sent else {
      if let flightSentAt { roundTrip.measured(now - flightSentAt) } else { roundTrip.progressed() }
      if rest.isEmpty, block > 0 { pace.windowArrived() }
      return .send(sendWindow(at: now))
    }
    // RFC 7440 section 4: a number below the window's last tells of a loss; go on after that block. An ACK
    // soon after another of this kind is about blocks sent before that: wait a round trip, then look again.
    pace.blocksWereLost()
    if let lastRecoveryAt, now < lastRecoveryAt + pause {
      recoveryIsDue = true
      deadline = lastRecoveryAt + pause
      return .nothing
    }
    lastRecoveryAt = now
    return .send(sendWindow(at: now))
  }

  /// What was acknowledged before says nothing new. To send anything for a duplicate would double every packet from
  /// here on: RFC 1123 section 4.2.3.1 (Sorcerer's Apprentice). But it shows a client that still waits, so the timer
  /// need not wait longer than it would without the silence before.
  private mutating func acknowledgedAgain(at now: Nanoseconds) -> Step {
    lastHeardAt = now
    guard !recoveryIsDue else { return .nothing }
    // The exception: the window is still being sent, and the client repeats its ACK a round trip after it began. It
    // lacks the window's first block (RFC 7440 section 4), and would drop all the rest. Once, so nothing multiplies.
    if !rest.isEmpty {
      let first = rest.lowerBound - 1
      guard !beganAnew, first > acknowledged + 1, now >= windowBeganAt + pause else { return .nothing }
      pace.blocksWereLost()
      let blocks = sendWindow(at: now)
      beganAnew = true
      return .send(blocks)
    }
    roundTrip.signOfLife()
    deadline = min(deadline, max(now, lastSentAt + roundTrip.timeout))
    return .nothing
  }

  /// The same request came again, from the same address and port.
  package mutating func requestRepeated(at now: Nanoseconds) -> Step {
    guard !isConfirmed else { return .nothing }
    // Clients that asked for no options repeat their request where block 1 was lost.
    guard now >= lastSentAt + Self.requestRepeatInterval else { return .nothing }
    bytesIn += parameters.requestSize
    return .send(sendWindow(at: now))
  }

  /// `deadline` has come.
  package mutating func timerFired(at now: Nanoseconds) -> Step {
    guard now >= deadline else { return .nothing }
    if recoveryIsDue {
      lastRecoveryAt = now
      return .send(sendWindow(at: now))
    }
    guard rest.isEmpty else { return .send(sendPiece(at: now)) }
    guard now < givingUpAt else { return .end(endingOfSilence) }
    roundTrip.timedOut()
    // An address that never answered may be someone else's, and what is sent to it an attack on its owner.
    guard isConfirmed || bytesOut + parameters.firstAnswerSize <= Self.amplification * bytesIn else {
      // An ACK that comes now may be the client's repetition of a lost one: its wait, seconds long, is no round trip.
      flightSentAt = nil
      schedule(at: now)
      return .nothing
    }
    pace.blocksWereLost()
    return .send(sendWindow(at: now))
  }

  /// The client sent an ERROR packet, which ends the transfer.
  package func clientError(_ code: ErrorCode, text: String) -> Step {
    // UEFI asks for the size, closes, and asks again for the file. ROMs do so with code 0 as well as with 8.
    if acknowledged < 0, parameters.negotiation.sizeAsked, code == .optionsRefused || code == .undefined {
      return .end(.probed)
    }
    return .end(.failed("the client ended it with error \(code.rawValue)" + (text.isEmpty ? "" : ": \(text)")))
  }

  /// Begins the window that follows the last acknowledged block.
  private mutating func sendWindow(at now: Nanoseconds) -> Blocks {
    let first = acknowledged + 1
    // The OACK is a window of its own, and so is the first block where there was none: nothing more leaves
    // before the client has shown that it is there.
    let width = first == 0 || !isConfirmed ? 1 : Int64(parameters.negotiation.windowSize)
    rest = first..<min(first + width, lastBlock + 1)
    if !isConfirmed { bytesOut += parameters.firstAnswerSize }
    windowBeganAt = now
    beganAnew = false
    recoveryIsDue = false
    return sendPiece(at: now)
  }

  /// Sends as much of the window as may leave at once: all of it, unless blocks were lost lately.
  private mutating func sendPiece(at now: Nanoseconds) -> Blocks {
    let piece = rest.lowerBound..<min(rest.lowerBound + pace.blocksAtOnce, rest.upperBound)
    rest = piece.upperBound..<rest.upperBound
    retransmissions += Int(max(0, min(piece.upperBound, sent + 1) - piece.lowerBound))
    // The client answers the last one.
    flightSentAt = piece.upperBound - 1 > sent ? now : nil
    sent = max(sent, piece.upperBound - 1)
    lastSentAt = now
    if rest.isEmpty { schedule(at: now) } else { deadline = now + pause }
    return piece
  }

  /// A round trip and a little more, but not so long that a client would take a window in pieces for silence.
  private var pause: Nanoseconds {
    roundTrip.smoothed.map { min($0 + $0 / 4, RoundTripEstimator.floor) } ?? Self.pauseUnmeasured
  }

  private mutating func schedule(at now: Nanoseconds) {
    deadline = min(now + roundTrip.timeout, max(givingUpAt, now + 1))
  }

  /// A client that is not heard, or says nothing new for longer, is given up.
  private var givingUpAt: Nanoseconds { min(lastHeardAt + patience, lastProgressAt + 3 * patience) }

  /// How long nothing may come from the client before it is given up.
  private var patience: Nanoseconds {
    guard isConfirmed else { return Self.patienceUnconfirmed }
    let asked = Nanoseconds.seconds(min(parameters.negotiation.timeout ?? 0, 40))
    // Once everything was sent, most likely all of it arrived, and only the last ACK is missing. If not, clients repeat
    // their ACK after 5 seconds, counted from whatever arrived last: one such repetition may be lost too.
    return sent == lastBlock ? max(.seconds(16), 2 * asked) : max(.seconds(24), 3 * asked)
  }

  private var endingOfSilence: Ending {
    let seconds = patience / .seconds(1)
    guard isConfirmed else { return .failed("the client did not answer within \(seconds) seconds") }
    // There are clients that close without the last ACK: not an error.
    if sent == lastBlock { return .finished }
    return .failed(
      "the client stopped answering: nothing for \(seconds) seconds after "
        + "\(acknowledgedBytes) of \(parameters.size) bytes")
  }
}
