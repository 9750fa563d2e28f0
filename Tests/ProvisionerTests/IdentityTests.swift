import DHCP
import DHCPWire
import NetworkTypes
import Testing

@testable import Provisioner

@Suite("Which node a machine is")
struct IdentityTests {
  private static let guid = "4c4c4544-0034-3010-8051-b7c04f4a3532"
  /// The same in option 97: the first three fields with their low byte first.
  private static let guidBytes: [UInt8] = [
    0x44, 0x45, 0x4C, 0x4C, 0x34, 0x00, 0x10, 0x30, 0x80, 0x51, 0xB7, 0xC0, 0x4F, 0x4A, 0x35, 0x32,
  ]
  private static let infiniBand =
    [0xFF, 0, 0, 0, 0, 0, 2, 0, 0, 2, 0xC9, 0] + [0xF4, 0x52, 0x14, 3, 0, 0x12, 0x34, 0x56] as [UInt8]
  private static let server = IPv4Address(10, 0, 0, 1)
  private static let fixed = IPv4Address(10, 0, 0, 21)

  private func client(
    _ card: MACAddress, identifier: [UInt8]? = nil, guid: [UInt8]? = nil,
    _ speaker: ClientDescription.Speaker = .pxeFirmware
  ) -> ClientDescription {
    ClientDescription(
      hardwareAddress: card, clientIdentifier: identifier, guid: guid, architectures: [0], speaker: speaker,
      serverAddress: Self.server)
  }

  @Test(
    "a node is found by card, client identifier or GUID, and gets its fixed address by any of them, after a restart too"
  )
  func reservations() async throws {
    let directory = try TestDirectory()
    var appliance = try await makeAppliance(directory)
    _ = try await appliance.addNode(
      AddNode(mac: "\(mac(1)),\(mac(2))", name: "first", guid: Self.guid.uppercased(), clientid: "01:02:03"))
    _ = try await appliance.setNodes(["first"], key: "address", value: "\(Self.fixed)")
    for _ in 0..<2 {
      let policy = appliance.clientPolicy
      #expect(policy.reservation(for: client(mac(1))) == Self.fixed)
      #expect(policy.reservation(for: client(mac(9), identifier: [1, 2, 3])) == Self.fixed)
      #expect(policy.reservation(for: client(mac(9), guid: Self.guidBytes)) == Self.fixed)
      // Byte by byte, as some firmware means it.
      #expect(
        policy.reservation(
          for: client(mac(9), guid: MachineIdentity.bytes(hexadecimal: Self.guid.replacing("-", with: ""))))
          == Self.fixed)
      #expect(policy.boot(for: client(mac(9), guid: Self.guidBytes)).hostName == "first")
      // Its second card is known, and takes an address of the pool.
      #expect(policy.reservation(for: client(mac(2), guid: Self.guidBytes)) == nil)
      #expect(policy.reservation(for: client(mac(9))) == nil)
      #expect(policy.boot(for: client(mac(9))).hostName == nil)
      let view = try #require(try appliance.nodes(["first"]).first)
      #expect(view.guid == Self.guid && view.clientid == "01:02:03" && view.macs == [mac(1), mac(2)])
      try await appliance.close()
      appliance = try await makeAppliance(directory)
    }
    try await appliance.close()
  }

  @Test("a client identifier or a GUID that another node has is refused with its owner's name; an empty value frees it")
  func duplicates() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    _ = try await appliance.addNode(AddNode(mac: mac(1).description, name: "first", guid: Self.guid))
    _ = try await appliance.addNode(AddNode(mac: mac(2).description, name: "second"))
    _ = try await appliance.setNodes(["first"], key: "clientid", value: "ff00aabb")
    for (key, value) in [
      ("guid", Self.guid), ("clientid", "FF:00:AA:BB"),
      // What the first one's card says of itself, unless it is told otherwise.
      ("clientid", "01:" + mac(1).description), ("mac", mac(1).description),
    ] {
      let error = try await #require(throws: ApplianceError.self, "\(key)") {
        _ = try await appliance.setNodes(["second"], key: key, value: value)
      }
      #expect(error.code == .conflict && error.message.contains("first"), "\(error)")
    }
    await #expect(throws: ApplianceError.self) {
      _ = try await appliance.addNode(AddNode(mac: mac(3).description, guid: Self.guid))
    }
    for key in ["guid", "clientid"] { _ = try await appliance.setNodes(["first"], key: key, value: "") }
    _ = try await appliance.setNodes(["second"], key: "guid", value: Self.guid)
    _ = try await appliance.setNodes(["second"], key: "clientid", value: "ff00aabb")
    #expect(appliance.clientPolicy.boot(for: client(mac(9), guid: Self.guidBytes)).hostName == "second")
    _ = try await appliance.deleteNodes(["second"])
    #expect(appliance.clientPolicy.boot(for: client(mac(9), guid: Self.guidBytes)).hostName == nil)
    _ = try await appliance.setNodes(["first"], key: "guid", value: Self.guid)
    try await appliance.close()
  }

  @Test(
    "what is no GUID or client identifier is refused with what is allowed",
    arguments: [
      ("guid", "no", "dmidecode"), ("guid", "00000000-0000-0000-0000-000000000000", "dmidecode"),
      ("guid", "ffffffff-ffff-ffff-ffff-ffffffffffff", "dmidecode"), ("clientid", "zz", "hexadecimal"),
      ("clientid", "01", "2 to 255 bytes"), ("clientid", "0:1:2", "hexadecimal"),
    ])
  func values(key: String, value: String, words: String) async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    _ = try await appliance.addNode(AddNode(mac: mac(1).description))
    let error = try await #require(throws: ApplianceError.self) {
      _ = try await appliance.setNodes(["n0000"], key: key, value: value)
    }
    #expect(error.message.contains(words), "\(error)")
    try await appliance.close()
  }

  @Test("a GUID that was only seen never identifies a node: vendors repeat them")
  func seenGUID() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    for number in 1...2 {
      let bound = try await appliance.ledger.bind(
        BootLedger.Request(mac: mac(number), guid: Self.guid, phase: .script))
      #expect(bound.isNewNode)
    }
    #expect(try appliance.nodes([]).map(\.macs) == [[mac(1)], [mac(2)]])
    #expect(appliance.clientPolicy.boot(for: client(mac(9), guid: Self.guidBytes)).hostName == nil)
    try await appliance.close()
  }

  @Test("a machine with a new card is its node by GUID or client identifier, and boots from that card from then on")
  func newCard() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    _ = try await appliance.addNode(AddNode(mac: mac(1).description, name: "first", guid: Self.guid))
    _ = try await appliance.addNode(AddNode(mac: mac(2).description, name: "second", clientid: "00:aa:bb"))
    // The loader says the GUID when it asks for its script.
    let first = try await appliance.ledger.bind(BootLedger.Request(mac: mac(11), guid: Self.guid, phase: .script))
    #expect(first.node.name == "first" && !first.isNewNode)
    // The client identifier was said when the firmware asked for its address.
    let firmware = client(mac(12), identifier: [0, 0xAA, 0xBB])
    appliance.observer.observed(
      Exchange(received: "DISCOVER", sent: "OFFER", client: firmware, address: nil, bootFile: nil, reason: ""))
    let second = try await appliance.ledger.bind(BootLedger.Request(mac: mac(12), phase: .script))
    #expect(second.node.name == "second" && second.boot.mac == mac(12))
    #expect(try appliance.nodes([]).map(\.macs) == [[mac(11), mac(1)], [mac(12), mac(2)]])
    try await appliance.close()
  }

  @Test("an InfiniBand client is its node's card to DHCP: its lease, its fixed address, its script")
  func infiniBand() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    let policy = appliance.clientPolicy
    let subnet = try #require(IPv4Subnet("10.0.0.0/24"))
    let responder = Responder(
      DHCPServerConfiguration(
        interface: "ib0", serverAddress: Self.server,
        network: .init(subnet: subnet, pools: [try #require(IPv4Range("10.0.0.100-10.0.0.199"))])),
      policy: policy, leases: [], isObserved: true)
    func respond(_ type: DHCPMessageType, selecting address: IPv4Address? = nil) throws -> Response {
      var message = DHCPMessage(
        operation: .request, hardware: HardwareAddress(type: 32, length: 0, upper: 0, lower: 0), transaction: 7,
        flags: 0x8000)
      message.options.set(.messageType, [type.rawValue])
      message.options.set(.clientIdentifier, Self.infiniBand)
      message.options.set(.vendorClass, Array("PXEClient:Arch:00000:UNDI:002001".utf8))
      message.options.set(.clientArchitecture, [0, 0])
      if let address {
        message.options.set(.requestedAddress, address.bytes)
        message.options.set(.serverIdentifier, Self.server.bytes)
      }
      var found: Response?
      try responder.respond(to: message, Reception(wasBroadcast: true), now: 1000) { found = $0 }
      return try #require(found)
    }
    // Nobody's yet: an address, no boot, and what to do.
    let unknown = try respond(.discover)
    #expect(unknown.exchange?.bootFile == nil)
    #expect(unknown.exchange?.boot?.reason.contains("node set clientid ff:00:00") == true)

    let words = MachineIdentity.hexadecimal(Self.infiniBand, separator: ":")
    _ = try await appliance.addNode(AddNode(mac: mac(5).description, name: "ib", clientid: words))
    _ = try await appliance.setNodes(["ib"], key: "address", value: "\(Self.fixed)")
    let offer = try respond(.discover)
    #expect(offer.exchange?.address == Self.fixed && offer.exchange?.client.hardwareAddress == mac(5))
    #expect(offer.exchange?.bootFile == "undionly.kpxe" && offer.destination == .broadcast)
    let acknowledgement = try respond(.request, selecting: Self.fixed)
    #expect(acknowledgement.type == .acknowledge)
    #expect(acknowledgement.changes.map(\.holder) == [.hardware(mac(5))])
    let bytes = acknowledgement.bytes
    let reply = try DHCPMessage(parsing: bytes.span.extracting(UDPFrame.headerLength...))
    #expect(reply.hardware.type == 32 && reply.hardware.length == 0)
    #expect(reply.clientIdentifier.map(Array.init) == Self.infiniBand)
    try await appliance.close()
  }

  @Test("whatever identifiers a known node's card sends, its one lease is the card's")
  func oneLease() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    _ = try await appliance.addNode(
      AddNode(mac: mac(1).description, name: "first", guid: Self.guid, clientid: "00:aa:bb"))
    _ = try await appliance.addNode(AddNode(mac: mac(2).description, name: "second"))
    // The card comes first: what else it says does not make it another node.
    let second = client(mac(2), identifier: [0, 0xAA, 0xBB], guid: Self.guidBytes)
    #expect(appliance.clientPolicy.boot(for: second).hostName == "second")
    #expect(appliance.clientPolicy.boot(for: client(mac(1), identifier: [9, 9])).hostName == "first")
    try await appliance.close()
  }
}
