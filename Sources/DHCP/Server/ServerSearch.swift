import DHCPWire
import Glibc
package import NetworkTypes

/// Looks for other DHCP servers on a segment by asking as a client would. What they offer is not taken up.
package enum ServerSearch {
  /// The vendor class (option 60) of the question, by which it is known in a trace.
  static let vendorClass = "perseid-search"

  /// A frame that asks every server of the segment for an address. The answer is to go to everyone (the broadcast
  /// bit), since nothing here listens on the client's port.
  static func question(from card: MACAddress) -> [UInt8] {
    var message = DHCPMessage(
      operation: .request, hardware: HardwareAddress(card), transaction: .random(in: .min ... .max))
    message.wantsBroadcast = true
    message.options.set(.messageType, [DHCPMessageType.discover.rawValue])
    message.options.set(.vendorClass, Array(vendorClass.utf8))
    var frame = [UInt8](repeating: 0, count: UDPFrame.headerLength) + message.serialized()
    UDPFrame(
      sourceCard: card, destinationCard: .broadcast, source: .any, destination: .broadcast,
      sourcePort: DHCPPort.client, destinationPort: DHCPPort.server
    ).writeHeaders(into: &frame)
    return frame
  }

  /// Asks, twice, and waits. Blocks its thread.
  /// - Parameters:
  ///   - own: Our own address there: what a server with this one says does not count.
  ///   - milliseconds: How long to wait. A server that probes addresses itself answers late: dnsmasq after 3 s.
  ///   - isFirstEnough: Whether to stop waiting at the first one that answers.
  /// - Returns: Who has answered, each once, in that order.
  /// - Throws: ``DHCPServerError``, where frames cannot be sent or received.
  package static func servers(
    on interface: String, own: IPv4Address, milliseconds: Int, isFirstEnough: Bool = false
  ) throws -> [OtherServer] {
    let card = try Interface.hardwareAddress(of: interface)
    let capture = try CaptureHandle(
      interface: interface,
      filter: "udp src port \(DHCPPort.server) and udp dst port \(DHCPPort.client) and not ether src \(card)",
      bufferBytes: 1 << 20)
    let begin = Self.milliseconds
    var questions = 0
    var found: [OtherServer] = []
    while true {
      let passed = Self.milliseconds - begin
      if questions == 0 || questions == 1 && passed >= milliseconds / 2 {
        questions += 1
        guard capture.inject(question(from: card)) else {
          throw DHCPServerError.failed(
            what: "ask for other servers", interface: interface, why: "the card takes no frames; is its link up?")
        }
      }
      guard passed < milliseconds else { return found }
      let isThere = capture.read(waiting: Int32(clamping: min(50, milliseconds - passed))) { frame in
        guard let (headers, payload) = try? UDPFrame.parse(frame),
          let message = try? DHCPMessage(parsing: frame.extracting(payload)),
          let server = OtherServer(reply: message, in: headers, own: own)
        else { return }
        if !found.contains(server), found.count < RogueWatch.maximumServers { found.append(server) }
      }
      guard isThere else { throw DHCPServerError.interfaceDown(interface) }
      if isFirstEnough, !found.isEmpty { return found }
    }
  }

  private static var milliseconds: Int {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec * 1000 + now.tv_nsec / 1_000_000
  }
}
