import DHCP
import DHCPWire
import Foundation
import NetworkTypes
import Testing

/// Real boot clients' messages, as recorded: see Captures/README.md.
struct CaptureReplayTests {
  struct Capture: CustomStringConvertible {
    var description: String
    var speaker: ClientDescription.Speaker
    var architectures: [UInt16]
    var messages: [[UInt8]]

    static let all: [Capture] = {
      let directory = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Captures")
      let files = (try? FileManager.default.contentsOfDirectory(at: directory, includingPropertiesForKeys: nil)) ?? []
      return files.filter { $0.pathExtension == "hex" }.sorted { $0.path < $1.path }.map(Capture.init)
    }()

    init(_ file: URL) {
      description = file.deletingPathExtension().lastPathComponent
      let lines = (try! String(contentsOf: file, encoding: .utf8)).split(separator: "\n")
      func heading(_ key: String) -> String {
        let line = lines.first { $0.hasPrefix("# \(key):") }!
        return String(line.dropFirst(key.count + 3)).trimmingCharacters(in: .whitespaces)
      }
      speaker = ClientDescription.Speaker(rawValue: heading("speaker"))!
      architectures = heading("architectures").split(separator: ",").map { UInt16($0)! }
      messages = lines.split { $0.hasPrefix("= ") }.dropFirst().map { hex($0.joined(separator: "\n")) }
    }
  }

  static let server = address("10.77.0.1")

  private struct Policy: ClientPolicy {
    func reservation(for client: ClientDescription) -> IPv4Address? { nil }
    func owner(of address: IPv4Address) -> MACAddress? { nil }
    func boot(for client: ClientDescription) -> BootAnswer {
      switch client.speaker {
      case .pxeFirmware: BootAnswer(bootFile: "loader.0", hostName: "n0001", reason: "a test")
      case .httpFirmware, .ipxe: BootAnswer(bootFile: "http://10.77.0.1:9870/x", hostName: "n0001", reason: "a test")
      case .perseid, .other: BootAnswer(bootFile: nil, reason: "a test")
      }
    }
  }

  private func responder() -> Responder {
    Responder(
      DHCPServerConfiguration(
        interface: "eth1", serverAddress: Self.server,
        network: .init(
          subnet: IPv4Subnet("10.77.0.0/24")!, pools: [IPv4Range("10.77.0.100-10.77.0.199")!], router: Self.server),
        nameServers: [Self.server], domain: "cluster.test"),
      policy: Policy(), leases: [], isObserved: true)
  }

  private func replies(_ capture: Capture, _ adjust: (inout DHCPMessage) -> Void = { _ in }) throws -> [(
    request: DHCPMessage, response: Response
  )] {
    let responder = responder()
    return try capture.messages.enumerated().map { index, bytes in
      var message = try DHCPMessage(parsing: bytes.span)
      adjust(&message)
      var response: Response?
      try responder.respond(to: message, Reception(wasBroadcast: true), now: 1000 + Int64(index)) { response = $0 }
      return (message, try #require(response))
    }
  }

  @Test("there are captures of firmware, of loaders, and of both ways to load")
  func present() {
    #expect(Capture.all.count >= 7)
    #expect(Set(Capture.all.map(\.speaker)).isSuperset(of: [.pxeFirmware, .httpFirmware, .ipxe]))
    #expect(Set(Capture.all.flatMap(\.architectures)).isSuperset(of: [0, 6, 7, 11, 16]))
  }

  @Test("a recorded client is known for what it is, and each of its messages is answered", arguments: Capture.all)
  func answered(_ capture: Capture) throws {
    for (request, response) in try replies(capture) {
      let client = try #require(response.exchange?.client)
      #expect(client.speaker == capture.speaker && client.architectures == capture.architectures)
      #expect(response.type == (request.messageType == .discover ? .offer : .acknowledge))
    }
  }

  @Test(
    "what a recorded client is sent, it can read: order, length, END and padding, echoes, boot file",
    arguments: Capture.all)
  func shape(_ capture: Capture) throws {
    for (request, response) in try replies(capture) {
      let bytes = Array(response.bytes[UDPFrame.headerLength...])
      let reply = try DHCPMessage(parsing: bytes.span)
      #expect(reply.operation == .reply && reply.transaction == request.transaction)
      #expect(reply.hardware == request.hardware && reply.wantsBroadcast == request.wantsBroadcast)
      #expect(bytes.count >= DHCPMessage.minimumReplyLength && bytes.count + 28 <= request.maximumMessageSize)
      #expect(bytes[240] == DHCPOptionCode.messageType.rawValue)
      let end = try #require(endOfOptions(bytes))
      #expect(bytes[end...].dropFirst().allSatisfy { $0 == 0 }, "something behind END")
      for code in [DHCPOptionCode.clientIdentifier, .machineIdentifier] {
        #expect(reply.options[code] == request.options[code], "\(code) is not as it came")
      }
      #expect(reply.serverIdentifier == Self.server)
      // In the OFFER and in the ACK: where it is missing in one, UEFI does not boot.
      if response.exchange?.bootFile?.hasPrefix("http:") == false { #expect(reply.nextServer == Self.server) }
      let inOption = reply.options[.bootFileName].map { Array($0.prefix { $0 != 0 }) }
      let file = reply.bootFile.isEmpty ? inOption : reply.bootFile
      #expect(file.map { String(decoding: $0, as: UTF8.self) } == response.exchange?.bootFile)
      // What it did not ask for and what is no part of a boot may stand there too; what it must have, does.
      #expect(reply.options.address(.subnetMask) == address("255.255.255.0"))
      if capture.speaker == .httpFirmware {
        #expect(reply.options.text(.vendorClass) == "HTTPClient")
      }
      if capture.speaker == .ipxe, let own = reply.options[.etherboot] {
        #expect(EncapsulatedOptions(own)[176].map(Array.init) == [1])
      }
    }
  }

  @Test("the same through a relay agent: answered to it, its option 82 last", arguments: Capture.all)
  func relayed(_ capture: Capture) throws {
    let information: [UInt8] = [1, 4, 101, 116, 104, 48]
    let answers = try replies(capture) { message in
      message.relay = address("10.77.0.2")
      message.hops = 1
      message.options.set(.relayAgentInformation, information)
    }
    for (_, response) in answers {
      #expect(response.destination == .relay(address("10.77.0.2")))
      let bytes = Array(response.bytes[UDPFrame.headerLength...])
      let reply = try DHCPMessage(parsing: bytes.span)
      #expect(reply.options.codes.last == .relayAgentInformation)
      #expect(reply.options[.relayAgentInformation].map(Array.init) == information)
    }
  }

  @Test(
    "a recorded message that is cut anywhere is read or refused, and a flipped byte stops nobody",
    arguments: Capture.all)
  func damaged(_ capture: Capture) {
    for message in capture.messages {
      let responder = responder()
      func play(_ bytes: [UInt8]) {
        guard let message = try? DHCPMessage(parsing: bytes.span) else { return }
        try? responder.respond(to: message, Reception(wasBroadcast: true), now: 1000) { _ in }
      }
      for count in 0..<message.count { play(Array(message[..<count])) }
      for index in message.indices {
        var damaged = message
        damaged[index] ^= 0xFF
        play(damaged)
      }
    }
  }

  /// Where the option END stands.
  private func endOfOptions(_ bytes: [UInt8]) -> Int? {
    var index = 240
    while index < bytes.count {
      if bytes[index] == 255 { return index }
      index += bytes[index] == 0 ? 1 : 2 + (index + 1 < bytes.count ? Int(bytes[index + 1]) : 0)
    }
    return nil
  }
}
