import Glibc
import NIOCore
import NIOHTTP1
import NetworkTypes

/// The server's end of one connection: gathers requests, hands them up one at a time, sends answers in
/// pieces, and keeps every wait bounded.
///
/// Pieces are small enough that a write that makes no headway is noticed, and large enough that the
/// kernel does the work: files go out by sendfile, and nothing is read into memory.
final class NodeConnectionHandler: ChannelDuplexHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundIn = PreparedResponse
  typealias OutboundOut = HTTPServerResponsePart

  private enum State {
    /// Waiting for a request line.
    case idle
    case receiving(HTTPRequestHead, body: [UInt8])
    /// Handed up; the answer is being made.
    case answering
    case sending(Transmission)
    /// The last answer has left; reading on until the client closes, so that it sees the answer and
    /// not a reset.
    case draining
    case closed
  }

  private enum Turn {
    case none, waiting, granted
  }

  private let limits: NodeHTTPServer.Limits
  private let requests: AsyncStream<CollectedRequest>.Continuation
  private let isAdmitted: Bool
  private let client: IPv4Address
  /// `nil` where connections send as fast as they can.
  private let gate: DeliveryGate?
  private var pass: DeliveryGate.Pass?
  /// Whether the next piece waits for the gate, or may be sent now.
  private var turn = Turn.none
  private var isCorked = false
  /// Whether `goOn` has a turn of the event loop to come.
  private var isGoingOn = false
  private var state = State.idle
  /// What a client sent behind a request that is still being answered.
  private var waiting = CircularBuffer<HTTPServerRequestPart>()
  private var isReadPending = false
  private var closesAfterAnswer = false
  private var deadline = NIODeadline.distantFuture
  /// When the connection ends whatever it is doing, once the server stops.
  private var lastDeadline = NIODeadline.distantFuture
  private var timer: (due: NIODeadline, task: Scheduled<Void>)?

  init(
    limits: NodeHTTPServer.Limits, requests: AsyncStream<CollectedRequest>.Continuation, isAdmitted: Bool,
    client: IPv4Address, gate: DeliveryGate?
  ) {
    self.client = client
    self.gate = gate
    self.limits = limits
    self.requests = requests
    self.isAdmitted = isAdmitted
  }

  // MARK: Requests

  func channelActive(context: ChannelHandlerContext) {
    setDeadline(limits.requestSeconds, context)
    if !isAdmitted {
      reject(503, "Too many connections are open; try again in a few seconds.\n", context)
    }
    context.fireChannelActive()
  }

  func channelInactive(context: ChannelHandlerContext) {
    if case .sending(let transmission) = state { transmission.end(isComplete: false, at: .now()) }
    state = .closed
    if let pass { gate?.withdraw(pass) }
    pass = nil
    timer?.task.cancel()
    timer = nil
    waiting.removeAll()
    requests.finish()
    context.fireChannelInactive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let part = unwrapInboundIn(data)
    switch state {
    case .idle, .receiving: take(part, context)
    case .answering, .sending: waiting.append(part)
    case .draining, .closed: break
    }
  }

  /// Reads nothing while an answer is on its way, so that a client cannot make us hoard requests.
  func read(context: ChannelHandlerContext) {
    switch state {
    case .answering, .sending: isReadPending = true
    case .idle, .receiving, .draining, .closed: context.read()
    }
  }

  private func take(_ part: HTTPServerRequestPart, _ context: ChannelHandlerContext) {
    switch (part, state) {
    case (.head(let head), .idle):
      begin(head, context)
    case (.body(let buffer), .receiving(let head, var body)):
      guard body.count + buffer.readableBytes <= limits.bodyBytes else {
        return reject(413, bodyLimitText, context)
      }
      // The old array is let go first, or each piece would copy all before it.
      state = .idle
      body.append(contentsOf: buffer.readableBytesView)
      state = .receiving(head, body: body)
    case (.end, .receiving(let head, let body)):
      state = .answering
      setDeadline(limits.answerSeconds, context)
      if !head.isKeepAlive { closesAfterAnswer = true }
      requests.yield(CollectedRequest(head: head, body: body))
    default:
      // What is left of a request that was refused.
      break
    }
  }

  private func begin(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
    state = .receiving(head, body: [])
    setDeadline(limits.requestSeconds, context)
    guard [.GET, .HEAD, .POST].contains(head.method) else {
      return reject(
        405, "Only GET, HEAD and POST are answered here.\n", context, fields: [("Allow", "GET, HEAD, POST")])
    }
    guard head.uri.utf8.count <= RequestTarget.sizeLimit else {
      return reject(414, "The path is longer than \(RequestTarget.sizeLimit) bytes.\n", context)
    }
    if let length = head.headers.first(name: "content-length"), Int(length) ?? .max > limits.bodyBytes {
      return reject(413, bodyLimitText, context)
    }
    if head.headers[canonicalForm: "expect"].contains(where: { $0.lowercased() == "100-continue" }) {
      context.writeAndFlush(
        wrapOutboundOut(.head(HTTPResponseHead(version: head.version, status: .continue))), promise: nil)
    }
  }

  private var bodyLimitText: String { "A request's body may have \(limits.bodyBytes) bytes at most.\n" }

  /// Answers without asking the API, and ends the connection.
  private func reject(
    _ status: Int, _ text: String, _ context: ChannelHandlerContext, fields: [(name: String, value: String)] = []
  ) {
    var answer = NodeResponse.text(status, text)
    answer.fields = fields
    var method = HTTPMethod.GET
    if case .receiving(let head, _) = state { method = head.method }
    closesAfterAnswer = true
    send(
      PreparedResponse(
        answer, to: HTTPRequestHead(version: .http1_1, method: method, uri: "/"), closes: true,
        now: NodeHTTPServer.secondsSinceEpoch()),
      promise: nil, context)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    switch (error, state) {
    case (let error as HTTPParserError, .idle), (let error as HTTPParserError, .receiving):
      // A parser that met the end of the input has no client left to answer.
      guard error != .invalidEOFState else { return context.close(promise: nil) }
      if error == .headerOverflow {
        reject(431, "The header is larger than this server reads.\n", context)
      } else {
        reject(400, "This is no HTTP request.\n", context)
      }
    case (is HTTPParserError, .answering), (is HTTPParserError, .sending):
      closesAfterAnswer = true
    default:
      context.close(promise: nil)
    }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    switch event {
    case ChannelEvent.inputClosed:
      closesAfterAnswer = true
      switch state {
      case .idle, .receiving, .draining, .closed: context.close(promise: nil)
      case .answering, .sending: break
      }
    case let windDown as ConnectionWindDown:
      closesAfterAnswer = true
      lastDeadline = .now() + .seconds(windDown.seconds)
      switch state {
      case .idle, .draining, .closed: context.close(promise: nil)
      case .receiving, .answering, .sending: watch(context)
      }
    default:
      context.fireUserInboundEventTriggered(event)
    }
  }

  // MARK: Answers

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    guard case .answering = state else {
      promise?.fail(ChannelError.ioOnClosedChannel)
      return
    }
    send(unwrapOutboundIn(data), promise: promise, context)
  }

  private func send(_ response: PreparedResponse, promise: EventLoopPromise<Void>?, _ context: ChannelHandlerContext) {
    if response.closes { closesAfterAnswer = true }
    let transmission = Transmission(response, promise: promise)
    state = .sending(transmission)
    if response.hasFile { setCorked(true, context) }
    context.write(wrapOutboundOut(.head(response.head)), promise: nil)
    sendMore(transmission, context)
  }

  /// Keeps two pieces under way, so that the socket never runs dry between them.
  private func sendMore(_ transmission: Transmission, _ context: ChannelHandlerContext) {
    setDeadline(limits.progressSeconds, context)
    while transmission.piecesUnderWay < 2 {
      guard mayGoOn(transmission, context) else { break }
      let piece: IOData?
      do {
        let limit = transmission.isPrompt ? limits.promptPieceBytes : limits.pieceBytes
        piece = try transmission.nextPiece(
          context.channel.allocator, limit: gate == nil ? limit : min(limit, DeliveryGate.pieceBytes))
      } catch {
        // The head has left, so the only honest answer is to cut the connection.
        transmission.end(isComplete: false, at: .now(), error: error)
        state = .draining
        return context.close(promise: nil)
      }
      guard let piece else { break }
      let size = piece.readableBytes
      let handedOver = NIODeadline.now()
      let written = context.eventLoop.makePromise(of: Void.self)
      written.futureResult.assumeIsolated().whenComplete { [self] result in
        transmission.pieceEnded(bytes: size)
        switch result {
        case .success:
          transmission.sentBytes += size
          transmission.isPrompt = .now() - handedOver < .milliseconds(limits.promptMilliseconds)
          setDeadline(limits.progressSeconds, context)
          goOn(context)
        case .failure(let error):
          transmission.end(isComplete: false, at: .now(), error: error)
          context.close(promise: nil)
        }
      }
      context.write(wrapOutboundOut(.body(piece)), promise: written)
    }
    if transmission.isAllHandedOver && !transmission.isEndWritten {
      transmission.isEndWritten = true
      let written = context.eventLoop.makePromise(of: Void.self)
      written.futureResult.assumeIsolated().whenComplete { [self] result in
        switch result {
        case .success:
          if isCorked { setCorked(false, context) }
          transmission.end(isComplete: true, at: .now())
          answered(context)
        case .failure(let error):
          transmission.end(isComplete: false, at: .now(), error: error)
          context.close(promise: nil)
        }
      }
      context.write(wrapOutboundOut(.end(nil)), promise: written)
    }
    context.flush()
  }

  /// In the event loop's next turn: a client that takes all at once must not keep the others waiting.
  private func goOn(_ context: ChannelHandlerContext) {
    guard !isGoingOn else { return }
    isGoingOn = true
    context.eventLoop.assumeIsolated().execute { [self] in
      isGoingOn = false
      if case .sending(let transmission) = state { sendMore(transmission, context) }
    }
  }

  /// While files are sent, only full segments leave (tcp(7), TCP_CORK): else each sendfile ends with a small one, which
  /// costs a single download a quarter of its rate. What is left of the last segment leaves when the cork is drawn.
  private func setCorked(_ isOn: Bool, _ context: ChannelHandlerContext) {
    // A channel that knows no such option (in tests) or is closed sends as it does.
    let option = ChannelOptions.Types.SocketOption(level: .tcp, name: NIOBSDSocket.Option(rawValue: TCP_CORK))
    do { try context.channel.syncOptions?.setOption(option, value: isOn ? 1 : 0) } catch { return }
    isCorked = isOn
  }

  /// Whether the rates allow the next piece now; else this is asked again when they do.
  private func mayGoOn(_ transmission: Transmission, _ context: ChannelHandlerContext) -> Bool {
    guard let gate, let bytes = transmission.nextFileBytes else { return true }
    switch turn {
    case .waiting: break
    case .granted:
      turn = .none
      return true
    case .none:
      let pass = pass ?? makePass(context)
      if gate.ask(pass, bytes: min(bytes, DeliveryGate.pieceBytes, limits.pieceBytes)) { return true }
      turn = .waiting
    }
    // Its turn comes, however long the others have to be served before; what left last may still be on its way.
    if transmission.piecesUnderWay == 0 { setDeadline(Self.turnSeconds, context) }
    return false
  }

  /// Until a connection's turn comes, at the most: of thousands at a low rate.
  private static let turnSeconds: Int64 = 3600

  private func makePass(_ context: ChannelHandlerContext) -> DeliveryGate.Pass {
    let handler = NIOLoopBound((self, context), eventLoop: context.eventLoop)
    let pass = DeliveryGate.Pass(client: client, eventLoop: context.eventLoop) {
      let (handler, context) = handler.value
      guard case .waiting = handler.turn, case .sending(let transmission) = handler.state else { return }
      handler.turn = .granted
      handler.sendMore(transmission, context)
    }
    self.pass = pass
    return pass
  }

  private func answered(_ context: ChannelHandlerContext) {
    guard case .sending = state else { return }
    if closesAfterAnswer {
      state = .draining
      requests.finish()
      setDeadline(limits.drainSeconds, context)
      context.close(mode: .output, promise: nil)
    } else {
      state = .idle
      setDeadline(limits.idleSeconds, context)
      while !waiting.isEmpty {
        switch state {
        case .idle, .receiving: take(waiting.removeFirst(), context)
        case .answering, .sending: return
        case .draining, .closed: return waiting.removeAll()
        }
      }
    }
    if isReadPending {
      isReadPending = false
      context.read()
    }
  }

  // MARK: Deadlines

  private func setDeadline(_ seconds: Int64, _ context: ChannelHandlerContext) {
    deadline = .now() + .seconds(seconds)
    watch(context)
  }

  /// One timer per connection. A deadline that moves on leaves it as it is: when it fires, it is set again.
  private func watch(_ context: ChannelHandlerContext) {
    let due = min(deadline, lastDeadline)
    if let timer {
      guard due < timer.due else { return }
      timer.task.cancel()
    }
    let task = context.eventLoop.assumeIsolated().scheduleTask(deadline: due) { [self] in
      timer = nil
      if case .closed = state { return }
      if min(deadline, lastDeadline) > .now() {
        watch(context)
      } else {
        timedOut(context)
      }
    }
    timer = (due, task)
  }

  private func timedOut(_ context: ChannelHandlerContext) {
    if case .receiving = state, lastDeadline == .distantFuture {
      reject(408, "The request did not arrive within \(limits.requestSeconds) seconds.\n", context)
    } else {
      context.close(promise: nil)
    }
  }
}
