import DHCPWire
import Logging
import NetworkTypes

/// Puts replies on the wire: in frames of our own where the client has no address yet, as datagrams
/// of the kernel's where it has.
final class ReplySender: Sendable {
  private let frames: FrameSender
  private let datagrams: DatagramSender
  private let card: MACAddress
  private let serverAddress: IPv4Address
  private let counters: Counters
  private let observer: (any ExchangeObserver)?
  private let logger: Logger

  init(
    frames: FrameSender, datagrams: DatagramSender, card: MACAddress, serverAddress: IPv4Address,
    counters: Counters, observer: (any ExchangeObserver)?, logger: Logger
  ) {
    self.frames = frames
    self.datagrams = datagrams
    self.card = card
    self.serverAddress = serverAddress
    self.counters = counters
    self.observer = observer
    self.logger = logger
  }

  func send(_ response: consuming Response) {
    if !response.bytes.isEmpty {
      if !transmit(&response.bytes, to: response.destination) {
        counters.unsent.count()
        logger.debug("the kernel took no reply", metadata: ["to": "\(response.destination)"])
      } else {
        switch response.type {
        case .offer: counters.offers.count()
        case .acknowledge: counters.acknowledgements.count()
        case .refuse: counters.refusals.count()
        default: break
        }
      }
    }
    if let observer, let exchange = response.exchange { observer.observed(exchange) }
  }

  private func transmit(_ bytes: inout [UInt8], to destination: ReplyDestination) -> Bool {
    switch destination {
    case .relay(let address):
      sendDatagram(bytes, to: address, port: DHCPPort.server)
    case .address(let address):
      sendDatagram(bytes, to: address, port: DHCPPort.client)
    case .card(let card, let address):
      sendFrame(&bytes, to: card, address)
    case .broadcast:
      sendFrame(&bytes, to: .broadcast, .broadcast)
    }
  }

  private func sendDatagram(_ bytes: [UInt8], to address: IPv4Address, port: UInt16) -> Bool {
    datagrams.send(bytes.span.extracting(UDPFrame.headerLength..<bytes.count), to: address, port: port)
  }

  private func sendFrame(_ bytes: inout [UInt8], to card: MACAddress, _ address: IPv4Address) -> Bool {
    UDPFrame(
      sourceCard: self.card, destinationCard: card, source: serverAddress, destination: address,
      sourcePort: DHCPPort.server, destinationPort: DHCPPort.client
    ).writeHeaders(into: &bytes)
    return frames.send(bytes)
  }
}
