import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix

/// Speaks to a running appliance over its control socket. One connection for each request.
package struct ControlSocketClient: AdminConnection {
  package let path: String
  /// Seconds without a byte after which the appliance counts as stuck.
  private let silenceSeconds: Int64

  /// Largest answer that is read, in bytes.
  private static let answerLimit = 256 << 20
  /// Largest refusal that is read, in bytes.
  private static let refusalLimit = 1 << 20

  package init(path: String, silenceSeconds: Int64 = 60) {
    self.path = path
    self.silenceSeconds = silenceSeconds
  }

  /// Nobody listens there: no appliance runs on this state directory.
  package struct NotRunning: Error {}

  package func send(_ request: AdminRequest) async throws -> AdminAnswer {
    var body: [UInt8] = []
    let status = try await exchange(request) { _, piece in
      guard body.count + piece.count <= Self.answerLimit else {
        throw ApplianceError(.failed, "The appliance's answer is larger than \(Self.answerLimit) bytes.")
      }
      body += piece
    }
    return AdminAnswer(status: status, body: body)
  }

  package func stream(_ request: AdminRequest, receive: (_ piece: [UInt8]) async throws -> Void) async throws {
    var refusal = AdminAnswer(status: 200, body: [])
    refusal.status = try await exchange(request) { status, piece in
      if status == 200 { return try await receive(piece) }
      guard refusal.body.count + piece.count <= Self.refusalLimit else {
        throw ApplianceError(.failed, "The appliance's answer is larger than \(Self.refusalLimit) bytes.")
      }
      refusal.body += piece
    }
    if refusal.status != 200 { throw refusal.refusal(of: request) }
  }

  /// Whether someone listens there.
  package func isAnswering() async -> Bool {
    do {
      return try await connect().executeThenClose { _, _ in true }
    } catch {
      return false
    }
  }

  private func exchange(
    _ request: AdminRequest, receive: (_ status: Int, _ piece: [UInt8]) async throws -> Void
  ) async throws -> Int {
    let channel = try await connect()
    var status: Int?
    var isWhole = false
    do {
      try await channel.executeThenClose { inbound, outbound in
        // In one piece: the appliance answers a request without a body when it has read the head, and closes.
        var parts: [HTTPClientRequestPart] = [.head(head(of: request))]
        if let body = request.body { parts.append(.body(.byteBuffer(ByteBuffer(bytes: body)))) }
        try await outbound.write(contentsOf: parts + [.end(nil)])
        for try await part in inbound {
          switch part {
          case .head(let head):
            status = Int(head.status.code)
          case .body(let buffer):
            try await receive(status ?? 0, Array(buffer.readableBytesView))
          case .end:
            isWhole = true
            return
          }
        }
      }
    } catch  where error is ChannelError || error is HTTPParserError || (error as? IOError)?.isHangUp == true {
      // The appliance closes behind its answer, and may do so before this end does; without a whole
      // answer it stopped, or was silent for so long that this end closed.
    }
    try Task.checkCancellation()
    guard isWhole, let status else {
      throw ApplianceError(
        .failed,
        "The appliance did not answer on \(path) within \(silenceSeconds) seconds, or stopped meanwhile. "
          + "Its log says why (`journalctl -u perseid` where it runs under systemd).")
    }
    return status
  }

  private func connect() async throws -> NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart> {
    do {
      return try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        .connectTimeout(.seconds(5))
        .connect(unixDomainSocketPath: path) { [silenceSeconds] channel in
          channel.eventLoop.makeCompletedFuture {
            try channel.pipeline.syncOperations.addHandler(IdleStateHandler(readTimeout: .seconds(silenceSeconds)))
            try channel.pipeline.syncOperations.addHandler(CloseWhenIdle())
            try channel.pipeline.syncOperations.addHTTPClientHandlers()
            return try NIOAsyncChannel(wrappingChannelSynchronously: channel)
          }
        }
    } catch let error as IOError {
      switch error.errnoCode {
      case ENOENT, ECONNREFUSED:
        throw NotRunning()
      case EACCES, EPERM:
        throw ApplianceError(
          .refused, "You may not use the appliance's control socket \(path). Run as root, or as a member of its group.")
      default:
        throw ApplianceError(.failed, "The control socket \(path) cannot be used: \(error).")
      }
    }
  }

  private func head(of request: AdminRequest) -> HTTPRequestHead {
    let method: HTTPMethod =
      switch request.method {
      case .get: .GET
      case .post: .POST
      case .patch: .PATCH
      case .put: .PUT
      case .delete: .DELETE
      }
    var headers: HTTPHeaders = ["Host": "localhost", "Connection": "close"]
    if let lastEventID = request.lastEventID { headers.add(name: "Last-Event-ID", value: lastEventID) }
    if let body = request.body {
      headers.add(name: "Content-Type", value: "application/json")
      headers.add(name: "Content-Length", value: String(body.count))
    }
    return HTTPRequestHead(version: .http1_1, method: method, uri: request.target, headers: headers)
  }
}

extension IOError {
  fileprivate var isHangUp: Bool { errnoCode == ECONNRESET || errnoCode == EPIPE }
}

/// Ends a connection on which nothing comes any more.
private final class CloseWhenIdle: ChannelInboundHandler {
  typealias InboundIn = NIOAny

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if event is IdleStateHandler.IdleStateEvent {
      context.close(promise: nil)
    } else {
      context.fireUserInboundEventTriggered(event)
    }
  }
}
