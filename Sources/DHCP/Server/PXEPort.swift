import DHCPWire
import Glibc
import Logging
import NIOCore
import NIOPosix
import NetworkTypes

/// UDP port 4011: firmware that has an address asks here for its boot file, and nothing is written for it.
final class PXEPort: ChannelInboundHandler, Sendable {
  typealias InboundIn = AddressedEnvelope<ByteBuffer>

  private let responder: Responder
  private let datagrams: DatagramSender
  private let counters: Counters
  private let observer: (any ExchangeObserver)?
  private let logger: Logger

  private init(
    _ responder: Responder, _ datagrams: DatagramSender, _ counters: Counters, _ observer: (any ExchangeObserver)?,
    _ logger: Logger
  ) {
    self.responder = responder
    self.datagrams = datagrams
    self.counters = counters
    self.observer = observer
    self.logger = logger
  }

  /// Opens the port on the interface.
  /// - Returns: The channel, the caller's to close.
  static func open(
    _ configuration: DHCPServerConfiguration, responder: Responder, counters: Counters,
    observer: (any ExchangeObserver)?, logger: Logger
  ) async throws -> any Channel {
    let descriptor = try ServerSocket.open(interface: configuration.interface, port: DHCPPort.bootServer)
    let handler = PXEPort(
      responder, DatagramSender(duplicating: descriptor, source: configuration.serverAddress), counters, observer,
      logger)
    return try await DatagramBootstrap(group: .singletonMultiThreadedEventLoopGroup)
      .channelOption(
        .recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: DHCPMessage.maximumLength + 1)
      )
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(handler) }
      }
      .withBoundSocket(descriptor).get()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let envelope = Self.unwrapInboundIn(data)
    guard case .v4 = envelope.remoteAddress, let port = envelope.remoteAddress.port.flatMap({ UInt16(exactly: $0) })
    else { return }
    // struct sockaddr_in has the address at its fourth byte, in network order.
    let client = envelope.remoteAddress.withSockAddr { pointer, _ in
      IPv4Address(
        rawValue: UInt32(bigEndian: UnsafeRawPointer(pointer).loadUnaligned(fromByteOffset: 4, as: UInt32.self)))
    }
    do {
      let message = try DHCPMessage(parsing: envelope.data.readableBytesUInt8Span)
      counters.received.count()
      let response = try responder.respond(toBootServerRequest: message)
      let bytes = response.bytes
      // To the port it came from, 68 or 4011: the client listens there.
      let isSent = datagrams.send(
        bytes.span.extracting(UDPFrame.headerLength..<bytes.count), to: client, port: port)
      if isSent { counters.acknowledgements.count() } else { counters.unsent.count() }
      if let observer, let exchange = response.exchange { observer.observed(exchange) }
    } catch let error as DHCPParseError {
      ignored(error.kind)
    } catch let error as Ignored {
      ignored(error.rawValue)
    } catch {
      ignored("\(error)")
    }
  }

  private func ignored(_ kind: String) {
    counters.ignored(kind)
    logger.trace("packet to port 4011 ignored", metadata: ["reason": "\(kind)"])
  }

  /// One bad datagram (an ICMP error that comes back counts as one) never ends the server.
  func errorCaught(context: ChannelHandlerContext, error: any Error) {}
}
