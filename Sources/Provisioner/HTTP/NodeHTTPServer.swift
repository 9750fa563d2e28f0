import Glibc
package import Logging
import NIOCore
import NIOHTTP1
package import NIOPosix
package import NetworkTypes
import ServiceLifecycle
import Synchronization

/// The nodes' HTTP server: plain HTTP/1.1 with files by sendfile, made for boot firmware.
///
/// `start` binds the port, so that a port in use is an error before anything else runs; `run` serves
/// until the graceful shutdown.
package final class NodeHTTPServer: Service {
  /// What one client may take. Seconds, bytes, connections.
  package struct Limits: Sendable {
    package var connections = 8192
    package var connectionsPerClient = 64
    package var bodyBytes = 1 << 20
    /// Until a request has arrived whole, from the connection's begin or from its head.
    package var requestSeconds: Int64 = 20
    /// Until the next request on a connection that is kept.
    package var idleSeconds: Int64 = 75
    /// Until the answer begins.
    package var answerSeconds: Int64 = 60
    /// Until the network has taken a piece of the answer.
    package var progressSeconds: Int64 = 60
    /// Until the client has closed behind the last answer.
    package var drainSeconds: Int64 = 2
    /// For answers on their way when the server stops.
    package var windDownSeconds: Int64 = 5
    /// Of a body that are written at once: so much is to be taken within `progressSeconds`.
    package var pieceBytes = 512 << 10
    /// The same, where the client has taken the last piece within `promptMilliseconds`: fewer turns for as many bytes.
    package var promptPieceBytes = 4 << 20
    package var promptMilliseconds: Int64 = 100
    /// Of files, in bytes per second.
    package var rates = DeliveryRates()

    package init() {}
  }

  /// Why the server cannot start, with the remedy.
  package struct StartError: Error, CustomStringConvertible {
    package var description: String
  }

  private let api: any NodeAPI
  private let address: IPv4Address
  private let port: Int
  private let limits: Limits
  private let logger: Logger
  private let group: MultiThreadedEventLoopGroup
  private let limiter: ConnectionLimiter
  /// `nil` where there is no limit.
  private let gate: DeliveryGate?
  private let listening = Mutex<Listening?>(nil)

  private struct Listening {
    var channel: any Channel
    var connections: AsyncStream<NodeConnection>
  }

  /// - Parameters:
  ///   - address: Where to listen; `0.0.0.0` is every address of the machine.
  ///   - port: 0 takes any free port, which `start` returns.
  package init(
    api: any NodeAPI, address: IPv4Address = .any, port: Int, limits: Limits = Limits(), logger: Logger,
    group: MultiThreadedEventLoopGroup = .singleton
  ) {
    self.api = api
    self.address = address
    self.port = port
    self.limits = limits
    self.logger = logger
    self.group = group
    gate = limits.rates.isLimited ? DeliveryGate(limits.rates) : nil
    limiter = ConnectionLimiter(total: limits.connections, perClient: limits.connectionsPerClient)
  }

  /// Binds and listens; connections wait until `run`.
  /// - Returns: The port.
  /// - Throws: `StartError`.
  @discardableResult
  package func start() async throws -> Int {
    let (connections, continuation) = AsyncStream.makeStream(of: NodeConnection.self)
    let limits = limits
    let limiter = limiter
    let gate = gate
    let bootstrap = ServerBootstrap(group: group)
      .serverChannelOption(.backlog, value: 1024)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .serverChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          // Out of file descriptors: wait a little instead of spinning.
          try channel.pipeline.syncOperations.addHandler(AcceptBackoffHandler(shouldForwardIOErrorCaught: false))
        }
      }
      .childChannelOption(.allowRemoteHalfClosure, value: true)
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          let connection = try Self.setUp(channel, limits: limits, limiter: limiter, gate: gate)
          if let connection { continuation.yield(connection) }
        }
      }
    let channel: any Channel
    do {
      channel = try await bootstrap.bind(host: address.description, port: port).get()
    } catch {
      throw StartError(description: Self.explain(error, address: address, port: port))
    }
    channel.closeFuture.whenComplete { _ in continuation.finish() }
    listening.withLock { $0 = Listening(channel: channel, connections: connections) }
    return channel.localAddress?.port ?? port
  }

  /// Serves until the graceful shutdown, or until the task is cancelled.
  /// - Throws: `StartError` where `start` was not called before and fails now.
  package func run() async throws {
    if listening.withLock({ $0 == nil }) { try await start() }
    guard let listening = listening.withLock({ $0 }) else { return }
    await withTaskCancellationOrGracefulShutdownHandler {
      await withDiscardingTaskGroup { tasks in
        for await connection in listening.connections {
          tasks.addTask { await self.serve(connection) }
        }
      }
    } onCancelOrGracefulShutdown: {
      listening.channel.close(promise: nil)
    }
  }

  /// Stops listening where `run` is not called after all.
  package func stop() async {
    try? await listening.withLock { $0 }?.channel.close().get()
  }

  private func serve(_ connection: NodeConnection) async {
    let channel = connection.channel
    let windDown = ConnectionWindDown(seconds: limits.windDownSeconds)
    await withTaskCancellationHandler {
      await withGracefulShutdownHandler {
        for await request in connection.requests {
          let response = await answer(request, on: connection)
          // A client that went away is no error: the receipt has told whoever asked.
          try? await channel.writeAndFlush(response).get()
        }
      } onGracefulShutdown: {
        channel.pipeline.fireUserInboundEventTriggered(windDown)
      }
    } onCancel: {
      channel.close(promise: nil)
    }
  }

  private func answer(_ request: CollectedRequest, on connection: NodeConnection) async -> PreparedResponse {
    let response: NodeResponse
    if let target = RequestTarget(request.head.uri),
      let method = NodeRequest.Method(rawValue: request.head.method.rawValue)
    {
      response = await api.respond(
        to: NodeRequest(
          method: method, path: target.path, query: target.query, body: request.body, client: connection.client,
          server: connection.server, port: connection.port))
    } else {
      response = .text(400, "The path cannot be read: it begins with / and escapes are two hexadecimal digits.\n")
    }
    let prepared = PreparedResponse(
      response, to: request.head, closes: !request.head.isKeepAlive, now: Self.secondsSinceEpoch())
    if prepared.head.status.code >= 500 {
      logger.error("\(request.head.method) \(request.head.uri) from \(connection.client): \(prepared.head.status)")
    }
    return prepared
  }

  // MARK: Connections

  /// - Returns: `nil` where the connection is one too many: its handler says so and closes.
  private static func setUp(
    _ channel: any Channel, limits: Limits, limiter: ConnectionLimiter, gate: DeliveryGate?
  ) throws -> NodeConnection? {
    guard let client = channel.remoteAddress.flatMap(IPv4Address.init),
      let server = channel.localAddress.flatMap(IPv4Address.init), let port = channel.localAddress?.port
    else {
      // Gone before it was looked at.
      throw ChannelError.ioOnClosedChannel
    }
    let isAdmitted = limiter.admit(client)
    if isAdmitted { channel.closeFuture.whenComplete { _ in limiter.leave(client) } }
    var header = NIOHTTPDecoderLimitConfiguration()
    header.maxHeaderFieldSize = 8 << 10
    header.maxHeaderListSize = 32 << 10
    header.maxHeaderFieldCount = 64
    let (requests, continuation) = AsyncStream.makeStream(of: CollectedRequest.self)
    try channel.pipeline.syncOperations.addHandlers(
      HTTPResponseEncoder(),
      ByteToMessageHandler(HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes, limitConfiguration: header)),
      NodeConnectionHandler(
        limits: limits, requests: continuation, isAdmitted: isAdmitted, client: client, gate: gate))
    guard isAdmitted else { return nil }
    return NodeConnection(channel: channel, requests: requests, client: client, server: server, port: port)
  }

  private static func explain(_ error: any Error, address: IPv4Address, port: Int) -> String {
    let what = "The nodes' HTTP server cannot listen on \(address), port \(port): "
    switch (error as? IOError)?.errnoCode {
    case EADDRINUSE:
      return what + "another program has the port. Stop it (`ss -ltnp 'sport = :\(port)'` names it), "
        + "or give another number to provisioner.port in the configuration."
    case EACCES:
      return what + "not permitted. Ports below 1024 need root or CAP_NET_BIND_SERVICE; "
        + "or give a higher number to provisioner.port in the configuration."
    case EADDRNOTAVAIL:
      return what + "this machine has no such address now."
    default:
      return what + "\(error)"
    }
  }

  static func secondsSinceEpoch() -> Int { time(nil) }
}

extension IPv4Address {
  fileprivate init?(_ address: SocketAddress) {
    guard let text = address.ipAddress else { return nil }
    self.init(text)
  }
}
