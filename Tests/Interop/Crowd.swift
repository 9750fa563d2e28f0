import DHCPWire
import Glibc
import Lab
import NetworkTypes

@testable import DHCP

/// Many DHCP clients on one card: each has an address of its own in its messages alone, and asks for answers to
/// everyone.
struct Crowd: Sendable {
  let namespace: NetworkNamespace
  var interface = "eth0"

  /// How far each client goes.
  enum Goal: Sendable {
    /// DISCOVER, until there is an OFFER.
    case offer
    /// DISCOVER and REQUEST, until there is an ACK.
    case lease
    /// REQUEST of the address it has (INIT-REBOOT), until there is an ACK or a NAK.
    case reboot([MACAddress: IPv4Address])
  }

  static func cards(_ count: Int) -> [MACAddress] {
    let first = UInt64.random(in: 0..<1 << 20) << 20
    return (0..<UInt64(count)).map { MACAddress(rawValue: 0x0600_0000_0000 | first + $0) }
  }

  /// Lets every client ask until it has reached its goal.
  /// - Parameter isOver: Ends it early; told how many clients are done.
  /// - Returns: Each client's address, as soon as it was offered or acknowledged.
  func run(
    _ cards: [MACAddress], to goal: Goal, within seconds: Int = 60,
    isOver: @escaping @Sendable (_ done: Int) -> Bool = { _ in false }
  ) async throws -> [MACAddress: IPv4Address] {
    let interface = interface
    return try await namespace.runBlocking {
      let work = try Work(interface: interface, goal: goal, cards: cards)
      return work.run(until: Self.now + seconds * 1000, isOver)
    }
  }

  fileprivate static var now: Int {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec * 1000 + now.tv_nsec / 1_000_000
  }
}

private final class Work {
  private struct Client {
    var offer: (address: IPv4Address, server: IPv4Address)?
    /// Milliseconds; long ago for one that has not asked yet.
    var askedAt = -1_000_000
  }

  private let capture: CaptureHandle
  private let sender: FrameSender
  private let goal: Crowd.Goal
  private var clients: [MACAddress: Client] = [:]
  private var order: [MACAddress]
  private var done: [MACAddress: IPv4Address] = [:]

  /// Clients that wait for an answer at one time, and how long until they ask again.
  private static let window = 64
  private static let patienceMilliseconds = 1000

  init(interface: String, goal: Crowd.Goal, cards: [MACAddress]) throws {
    capture = try CaptureHandle(interface: interface, filter: "udp dst port 68", bufferBytes: 8 << 20)
    sender = try FrameSender(interface: interface)
    self.goal = goal
    order = cards
    for card in cards { clients[card] = Client() }
  }

  func run(until deadline: Int, _ isOver: (Int) -> Bool) -> [MACAddress: IPv4Address] {
    while !isOver(done.count), !order.isEmpty, Crowd.now < deadline {
      let now = Crowd.now
      for card in order.prefix(Self.window) where now - (clients[card]?.askedAt ?? now) >= Self.patienceMilliseconds {
        ask(card, now)
      }
      var replies: [DHCPMessage] = []
      _ = capture.read(waiting: 20) { frame in
        if let (_, payload) = try? UDPFrame.parse(frame),
          let message = try? DHCPMessage(parsing: frame.extracting(payload))
        {
          replies.append(message)
        }
      }
      for reply in replies { take(reply) }
      order.removeAll { clients[$0] == nil }
    }
    return done
  }

  private func message(_ card: MACAddress, _ type: DHCPMessageType) -> DHCPMessage {
    var message = DHCPMessage(
      operation: .request, hardware: HardwareAddress(card), transaction: UInt32(truncatingIfNeeded: card.rawValue))
    message.wantsBroadcast = true
    message.options.set(.messageType, [type.rawValue])
    return message
  }

  private func ask(_ card: MACAddress, _ now: Int) {
    clients[card]?.askedAt = now
    if case .reboot(let addresses) = goal {
      var request = message(card, .request)
      request.options.set(.requestedAddress, (addresses[card] ?? .any).bytes)
      return send(request, card)
    }
    guard let offer = clients[card]?.offer else { return send(message(card, .discover), card) }
    // Who hears nothing begins anew: the server may have forgotten its offer.
    clients[card]?.offer = nil
    var request = message(card, .request)
    request.options.set(.requestedAddress, offer.address.bytes)
    request.options.set(.serverIdentifier, offer.server.bytes)
    send(request, card)
  }

  private func send(_ message: DHCPMessage, _ card: MACAddress) {
    var frame = [UInt8](repeating: 0, count: UDPFrame.headerLength) + message.serialized()
    UDPFrame(
      sourceCard: card, destinationCard: .broadcast, source: .any, destination: .broadcast,
      sourcePort: DHCPPort.client, destinationPort: DHCPPort.server
    ).writeHeaders(into: &frame)
    _ = sender.send(frame)
  }

  private func take(_ reply: DHCPMessage) {
    guard let card = reply.hardware.ethernet, clients[card] != nil else { return }
    switch (reply.messageType, goal) {
    case (.offer, .offer), (.acknowledge, .lease), (.acknowledge, .reboot):
      done[card] = reply.yourAddress
      clients[card] = nil
    case (.offer, .lease):
      guard let server = reply.serverIdentifier else { return }
      clients[card]?.offer = (reply.yourAddress, server)
      ask(card, Crowd.now)
    case (.refuse, .lease):
      clients[card] = Client()
    case (.refuse, .reboot):
      clients[card] = nil
    default: break
    }
  }
}
