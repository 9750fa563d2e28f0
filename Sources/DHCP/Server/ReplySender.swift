import DHCPWire
import Glibc
import Logging
import NetworkTypes
import Synchronization

/// Puts replies on the wire: in frames of our own where the client has no address yet, as datagrams
/// of the kernel's where it has.
///
/// Each thread that sends has one of its own.
final class ReplySender: Sendable {
  private struct Wires: ~Copyable {
    let sender: FrameSender
    var frames = FrameBatch()
    /// What was added to `frames`.
    var frameTypes: [DHCPMessageType?] = []
    let socket: CInt
    var datagrams: DatagramBatch
    /// What was added to `datagrams`.
    var types: [DHCPMessageType?] = []

    deinit {
      if socket >= 0 { close(socket) }
    }
  }

  private let wires: Mutex<Wires>
  private let card: MACAddress
  private let serverAddress: IPv4Address
  private let counters: Counters
  private let observer: (any ExchangeObserver)?
  private let logger: Logger

  /// - Parameter socket: A bound socket; a duplicate of it is kept.
  init(
    _ configuration: DHCPServerConfiguration, card: MACAddress, duplicating socket: CInt, counters: Counters,
    observer: (any ExchangeObserver)?, logger: Logger
  ) throws(DHCPServerError) {
    let sender = try FrameSender(interface: configuration.interface)
    let batch = try DatagramBatch(bytes: DHCPMessage.maximumLength, interface: configuration.interface)
    wires = Mutex(Wires(sender: sender, socket: fcntl(socket, F_DUPFD_CLOEXEC, 0), datagrams: batch))
    self.card = card
    self.serverAddress = configuration.serverAddress
    self.counters = counters
    self.observer = observer
    self.logger = logger
  }

  /// Sends replies, in order where they go the same way. Returns at once: what the kernel does not take
  /// is dropped, and its client asks again.
  func send(_ responses: [Response]) {
    wires.withLock { wires in
      for response in responses where !response.bytes.isEmpty {
        switch response.destination {
        case .relay(let address): add(response, to: address, port: DHCPPort.server, &wires)
        case .address(let address): add(response, to: address, port: DHCPPort.client, &wires)
        case .card(let card, let address): add(response, to: card, address, &wires)
        case .broadcast: add(response, to: .broadcast, .broadcast, &wires)
        }
      }
      flush(&wires)
    }
    guard let observer else { return }
    for response in responses {
      if let exchange = response.exchange { observer.observed(exchange) }
    }
  }

  private func add(_ response: Response, to address: IPv4Address, port: UInt16, _ wires: inout Wires) {
    // The address the reply comes from is the server's own, whatever other addresses the interface has:
    // clients and relay agents drop replies from an address they do not know.
    let bytes = response.bytes
    let message = bytes.span.extracting(UDPFrame.headerLength..<bytes.count)
    if wires.types.count == DatagramBatch.capacity { flush(&wires) }
    guard wires.datagrams.add(message, from: serverAddress, to: address, port: port) else { return refused() }
    wires.types.append(response.type)
  }

  private func add(_ response: Response, to card: MACAddress, _ address: IPv4Address, _ wires: inout Wires) {
    if wires.frameTypes.count == DatagramBatch.capacity { flush(&wires) }
    wires.frames.append(
      response.bytes,
      behind: UDPFrame(
        sourceCard: self.card, destinationCard: card, source: serverAddress, destination: address,
        sourcePort: DHCPPort.server, destinationPort: DHCPPort.client))
    wires.frameTypes.append(response.type)
  }

  private func flush(_ wires: inout Wires) {
    if !wires.frameTypes.isEmpty {
      for type in wires.frameTypes { count(type) }
      for index in wires.sender.send(wires.frames) {
        count(wires.frameTypes[index], by: -1)
        refused()
      }
      wires.frames.removeAll()
      wires.frameTypes.removeAll(keepingCapacity: true)
    }
    guard !wires.types.isEmpty else { return }
    for type in wires.types { count(type) }
    wires.datagrams.send(to: wires.socket, count: wires.types.count) { [types = wires.types] index in
      count(types[index], by: -1)
      refused()
    }
    wires.types.removeAll(keepingCapacity: true)
  }

  private func refused() {
    counters.unsent.count()
    logger.debug("the kernel took no reply")
  }

  private func count(_ type: DHCPMessageType?, by number: Int = 1) {
    switch type {
    case .offer: counters.offers.wrappingAdd(number, ordering: .relaxed)
    case .acknowledge: counters.acknowledgements.wrappingAdd(number, ordering: .relaxed)
    case .refuse: counters.refusals.wrappingAdd(number, ordering: .relaxed)
    default: break
    }
  }
}
