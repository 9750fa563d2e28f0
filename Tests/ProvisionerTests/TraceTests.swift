import DHCP
import DHCPWire
import Foundation
import NetworkTypes
import Testing

@testable import Provisioner

@Suite("The trace of a node")
struct TraceTests {
  private static let server = IPv4Address(10, 0, 0, 1)

  private func responder(_ policy: any ClientPolicy) throws -> Responder {
    Responder(
      DHCPServerConfiguration(
        interface: "eth1", serverAddress: Self.server,
        network: .init(
          subnet: try #require(IPv4Subnet("10.0.0.0/24")), pools: [try #require(IPv4Range("10.0.0.100-10.0.0.199"))])),
      policy: policy, leases: [], isObserved: true)
  }

  private func discover(from card: MACAddress, vendorClass: String) -> DHCPMessage {
    var message = DHCPMessage(operation: .request, hardware: HardwareAddress(card), transaction: 7)
    message.options.set(.messageType, [DHCPMessageType.discover.rawValue])
    message.options.set(.vendorClass, Array(vendorClass.utf8))
    return message
  }

  /// A DISCOVER of this card that the appliance has answered.
  private func exchange(_ appliance: Appliance, _ card: MACAddress, _ vendorClass: String = "PXEClient") throws {
    try responder(appliance.clientPolicy).respond(
      to: discover(from: card, vendorClass: vendorClass), Reception(wasBroadcast: true), now: 1000
    ) { response in
      if let exchange = response.exchange { appliance.observer.observed(exchange) }
    }
  }

  private func written(_ trace: NodeTrace) async throws -> [(type: UInt32, bytes: [UInt8])] {
    var file: [UInt8] = []
    try await trace.run { file += $0 }
    var blocks = PCAPNGBlocks()
    let whole = blocks.take(file)
    return try #require(whole)
  }

  @Test("what was kept of a machine's DHCP is there when someone asks later: both packets of each exchange, in order")
  func kept() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    _ = try await appliance.addNode(AddNode(mac: "\(mac(1)),\(mac(2))", name: "first"))
    try exchange(appliance, mac(1))
    try exchange(appliance, mac(3))
    try exchange(appliance, mac(2))
    // What asks for an address and boots nothing is not kept.
    try exchange(appliance, mac(1), "MSFT 5.0")
    let blocks = try await written(try appliance.trace("first", NodeTrace.Limits(isLive: false)))
    #expect(blocks.map(\.type) == [PCAPNG.BlockType.sectionHeader, 1, 6, 6, 6, 6, 5])
    #expect(PCAPNG.comment(ofStatistics: blocks[6].bytes)?.contains("until now") == true)
    // IPv4 and UDP, as any program reads them.
    let datagrams = blocks.filter { $0.type == PCAPNG.BlockType.packet }.map { $0.bytes }
    let messages = try datagrams.map { block -> DHCPMessage in
      let count = Int(block[20]) | Int(block[21]) << 8
      let frame = [UInt8](repeating: 0, count: 12) + [8, 0] + block[28..<28 + count]
      let (_, payload) = try UDPFrame.parse(frame.span)
      return try DHCPMessage(parsing: frame.span.extracting(payload))
    }
    #expect(messages.map(\.messageType) == [.discover, .offer, .discover, .offer])
    #expect(messages.map(\.hardware.ethernet) == [mac(1), mac(1), mac(2), mac(2)])
    try await appliance.close()
  }

  @Test("a node that is not there and bounds that cannot be are refused; an interface that is none is named")
  func refusals() async throws {
    let appliance = try await makeAppliance(try TestDirectory()) { $0.network.interfaces = ["nosuch0"] }
    let missing = try #require(throws: ApplianceError.self) { try appliance.trace("nobody", NodeTrace.Limits()) }
    #expect(missing.code == .notFound && missing.message.contains("nobody"))
    _ = try await appliance.addNode(AddNode(mac: mac(1).description, name: "first"))
    for limits in [NodeTrace.Limits(seconds: 0), NodeTrace.Limits(bytes: 5)] {
      #expect(throws: ApplianceError.self) { try appliance.trace("first", limits) }
    }
    let interface = try #require(throws: ApplianceError.self) { try appliance.trace("first", NodeTrace.Limits()) }
    #expect(interface.message.contains("nosuch0") && interface.message.contains("--kept"), "\(interface)")
    try await appliance.close()
  }

  @Test("packets are kept within their bound: the last of each machine, and machines heard of last")
  func bounds() throws {
    let log = PacketLog(byteLimit: 40_000)
    let responder = try responder(BootPolicyStub())
    func packets(_ card: MACAddress) throws -> ExchangePackets {
      var packets: ExchangePackets?
      try responder.respond(
        to: discover(from: card, vendorClass: "PXEClient"), Reception(wasBroadcast: true), now: 1000
      ) { packets = $0.exchange?.packets }
      return try #require(packets)
    }
    let first = try packets(mac(1))
    for time in 1...100 as ClosedRange<UInt64> { log.keep(first, of: mac(1), at: time * 10) }
    let kept = log.packets(of: [mac(1)])
    #expect(kept.count == PacketLog.packetLimit && kept.last?.at == 1000 && kept == kept.sorted { $0.at < $1.at })
    for number in 2...90 { log.keep(try packets(mac(number)), of: mac(number), at: 1000 + UInt64(number)) }
    let bytes = log.packets(of: (1...90).map { mac($0) }).reduce(0) { $0 + $1.bytes.count }
    #expect(bytes <= 40_000 && bytes > 20_000)
    #expect(log.packets(of: [mac(90)]).count == 2 && log.packets(of: [mac(1)]).isEmpty)
  }

  private struct BootPolicyStub: ClientPolicy {
    func reservation(for client: ClientDescription) -> IPv4Address? { nil }
    func owner(of address: IPv4Address) -> MACAddress? { nil }
    func boot(for client: ClientDescription) -> BootAnswer { BootAnswer(bootFile: nil, reason: "") }
  }

  @Test("contents are cut short, DHCP and short frames are not")
  func cuts() {
    func frame(_ bytes: Int, protocol number: UInt8, from source: UInt16, to destination: UInt16) -> [UInt8] {
      var frame = [UInt8](repeating: 0, count: bytes)
      (frame[12], frame[14], frame[23]) = (8, 0x45, number)
      for (index, port) in [(34, source), (36, destination)] {
        (frame[index], frame[index + 1]) = (UInt8(port >> 8), UInt8(port & 255))
      }
      return frame
    }
    #expect(TraceFilter.kept(of: frame(1514, protocol: 17, from: 67, to: 68)) == 1514)
    #expect(TraceFilter.kept(of: frame(1514, protocol: 17, from: 2000, to: 69)) == 1514)
    #expect(TraceFilter.kept(of: frame(1514, protocol: 17, from: 69, to: 2000)) == 1514)
    #expect(TraceFilter.kept(of: frame(1514, protocol: 17, from: 3000, to: 2000)) == TraceFilter.contentLimit)
    #expect(TraceFilter.kept(of: frame(1514, protocol: 6, from: 9870, to: 4000)) == TraceFilter.contentLimit)
    #expect(TraceFilter.kept(of: frame(120, protocol: 6, from: 9870, to: 4000)) == 120)
    #expect(TraceFilter.kept(of: []) == 0)
  }

  @Test("a file's blocks are found again whatever pieces they come in, and what is no such file is refused")
  func blocks() {
    let file =
      PCAPNG.sectionHeader(application: "test") + PCAPNG.interface(.ethernet, name: "eth1", description: "a card")
      + PCAPNG.packet(interface: 0, at: 1, [1, 2, 3], length: 60, comment: "words")
      + PCAPNG.statistics(interface: 0, at: 2, dropped: 3, comment: "the end")
    for size in [1, 7, 4096] {
      var blocks = PCAPNGBlocks()
      var found: [(type: UInt32, bytes: [UInt8])] = []
      for start in stride(from: 0, to: file.count, by: size) {
        found += blocks.take(Array(file[start..<min(start + size, file.count)])) ?? []
      }
      #expect(found.map(\.type) == [PCAPNG.BlockType.sectionHeader, 1, 6, 5] && found.flatMap(\.bytes) == file)
      #expect(found.last.flatMap { PCAPNG.comment(ofStatistics: $0.bytes) } == "the end")
    }
    var blocks = PCAPNGBlocks()
    #expect(blocks.take(Array("HTTP/1.1 200 OK\r\n".utf8)) == nil)
    #expect(PCAPNG.comment(ofStatistics: PCAPNG.statistics(interface: 0, at: 2, dropped: 3)) == nil)
  }
}
