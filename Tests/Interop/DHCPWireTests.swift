import DHCPWire
import Lab
import NetworkTypes
import Testing

@testable import DHCP

/// What is on the cable, frame by frame: addresses and ports of replies.
@Suite(.enabled(if: NetworkNamespace.isAvailable, Comment(rawValue: NetworkNamespace.unavailable)), .serialized)
struct DHCPWireTests {
  private struct Answer: Sendable {
    var headers: UDPFrame
    var message: DHCPMessage
  }

  private static let relay = IPv4Address(10, 77, 0, 2)

  private func request(
    _ type: DHCPMessageType, from card: MACAddress, _ options: [DHCPOptionCode: [UInt8]] = [:]
  ) -> DHCPMessage {
    var message = DHCPMessage(operation: .request, hardware: HardwareAddress(card), transaction: 6)
    message.options.set(.messageType, [type.rawValue])
    for (code, value) in options { message.options.set(code, value) }
    return message
  }

  /// Sends a message from the clients' card, and waits for the first frame that a filter lets through.
  private func answer(
    to message: DHCPMessage, _ lab: DHCPLab, headers: UDPFrame, filter: String
  ) async throws -> Answer {
    try await lab.clients.runBlocking {
      let capture = try CaptureHandle(interface: "eth0", filter: filter, bufferBytes: 1 << 20)
      var frame = [UInt8](repeating: 0, count: UDPFrame.headerLength) + message.serialized()
      headers.writeHeaders(into: &frame)
      guard capture.inject(frame) else { throw LabError("the cable took no frame") }
      var answer: Answer?
      for _ in 0..<10 where answer == nil {
        _ = capture.read(waiting: 1000) { bytes in
          guard answer == nil, let (headers, payload) = try? UDPFrame.parse(bytes),
            let message = try? DHCPMessage(parsing: bytes.extracting(payload))
          else { return }
          answer = Answer(headers: headers, message: message)
        }
      }
      guard let answer else { throw LabError("no answer within ten seconds") }
      return answer
    }
  }

  private func broadcast(_ message: DHCPMessage, _ lab: DHCPLab) async throws -> Answer {
    let headers = UDPFrame(
      sourceCard: lab.card, destinationCard: .broadcast, source: .any, destination: .broadcast,
      sourcePort: DHCPPort.client, destinationPort: DHCPPort.server)
    return try await answer(to: message, lab, headers: headers, filter: "udp dst port 68")
  }

  private func relayed(_ message: DHCPMessage, _ lab: DHCPLab) async throws -> Answer {
    var message = message
    message.relay = Self.relay
    let server = try Interface.hardwareAddress(of: lab.server.configuration.interface)
    let headers = UDPFrame(
      sourceCard: lab.card, destinationCard: server, source: Self.relay, destination: DHCPLab.serverAddress,
      sourcePort: DHCPPort.server, destinationPort: DHCPPort.server)
    return try await answer(to: message, lab, headers: headers, filter: "udp dst port 67 and src host 10.77.0.1")
  }

  @Test("an OFFER goes to the client's card and its new address, before it has that address")
  func card() async throws {
    try await DHCPLab.with { lab in
      let answer = try await broadcast(request(.discover, from: lab.card), lab)
      #expect(answer.message.messageType == .offer)
      #expect(answer.headers.destinationCard == lab.card)
      #expect(answer.headers.destination == answer.message.yourAddress)
      #expect((answer.headers.sourcePort, answer.headers.destinationPort) == (67, 68))
      #expect(answer.headers.source == DHCPLab.serverAddress)
    }
  }

  @Test("with the broadcast bit an OFFER goes to every card, and not to the client's with everyone's address")
  func everyone() async throws {
    try await DHCPLab.with { lab in
      var message = request(.discover, from: lab.card)
      message.wantsBroadcast = true
      let answer = try await broadcast(message, lab)
      #expect((answer.headers.destinationCard, answer.headers.destination) == (.broadcast, .broadcast))
      #expect(answer.message.wantsBroadcast)
    }
  }

  @Test("a NAK goes to every card")
  func refusal() async throws {
    try await DHCPLab.with { lab in
      let answer = try await broadcast(
        request(.request, from: lab.card, [.requestedAddress: [192, 0, 2, 7]]), lab)
      #expect(answer.message.messageType == .refuse)
      #expect((answer.headers.destinationCard, answer.headers.destination) == (.broadcast, .broadcast))
    }
  }

  @Test("a relay agent is answered at its own address and port 67, with its option 82; in a NAK with the broadcast bit")
  func relayAgent() async throws {
    try await DHCPLab.with { lab in
      try await lab.clients.ip("address", "add", "\(Self.relay)/24", "dev", "eth0")
      let information: [UInt8] = [1, 4, 101, 116, 104, 48]
      let card = MACAddress(rawValue: 0x0200_0000_0033)
      let offer = try await relayed(
        request(.discover, from: card, [.relayAgentInformation: information]), lab)
      #expect(offer.message.messageType == .offer)
      #expect(offer.headers.destination == Self.relay && offer.headers.destinationPort == 67)
      #expect(offer.message.options.codes.last == .relayAgentInformation)
      #expect(offer.message.options[.relayAgentInformation].map(Array.init) == information)
      let refusal = try await relayed(request(.request, from: card, [.requestedAddress: [192, 0, 2, 7]]), lab)
      #expect(refusal.message.messageType == .refuse && refusal.message.wantsBroadcast)
      #expect(refusal.headers.destination == Self.relay && refusal.headers.destinationPort == 67)
    }
  }

  @Test(
    "machines that are switched on at one moment all get their offers, broadcast or relayed", arguments: [false, true])
  func aBurstIsAnsweredWhole(isRelayed: Bool) async throws {
    try await DHCPLab.with { lab in
      let machines = 95
      let server = try Interface.hardwareAddress(of: lab.server.configuration.interface)
      try await lab.clients.runBlocking {
        let sender = try FrameSender(interface: "eth0")
        for number in 1...machines {
          let card = MACAddress(rawValue: 0x0200_0000_0000 | UInt64(number))
          var message = request(.discover, from: card)
          if isRelayed { message.relay = Self.relay }
          var frame = [UInt8](repeating: 0, count: UDPFrame.headerLength) + message.serialized()
          UDPFrame(
            sourceCard: lab.card, destinationCard: isRelayed ? server : .broadcast,
            source: isRelayed ? Self.relay : .any, destination: isRelayed ? DHCPLab.serverAddress : .broadcast,
            sourcePort: isRelayed ? DHCPPort.server : DHCPPort.client, destinationPort: DHCPPort.server
          ).writeHeaders(into: &frame)
          guard sender.send(frame) else { throw LabError("the cable took no frame") }
        }
      }
      #expect(await lab.exchanges.holds { lab.exchanges.all.count == machines })
      #expect(Set(lab.exchanges.all.map(\.address)).count == machines)
      #expect(lab.server.statistics.offers == machines)
      #expect(lab.server.statistics.unsent == 0)
    }
  }
}
