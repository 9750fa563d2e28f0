import DHCPWire
import NetworkTypes
import Testing

@testable import DHCP

struct ClasslessRouteTests {
  @Test("routes are written with only the bytes of the prefix, as in RFC 3442's table")
  func encoding() throws {
    let routes = [
      "0.0.0.0/0 via 10.0.0.1", "10.0.0.0/8 via 10.0.0.2", "10.17.0.0/16 via 10.0.0.3", "10.27.129.0/24 via 10.0.0.4",
      "10.229.0.128/25 via 10.0.0.5", "10.198.122.47/32 via 0.0.0.0",
    ].compactMap { ClasslessRoute($0) }
    let bytes = hex(
      """
      00 0a000001
      08 0a 0a000002
      10 0a11 0a000003
      18 0a1b81 0a000004
      19 0ae50080 0a000005
      20 0ac67a2f 00000000
      """)
    #expect(ClasslessRoute.encode(routes) == bytes)
    #expect(ClasslessRoute.decode(bytes[...]) == routes)
  }

  @Test("a list that ends within a route, or has a prefix of more than 32 bits, is none")
  func malformed() {
    let whole = hex("18 0a1b81 0a000004")
    for count in 1..<whole.count { #expect(ClasslessRoute.decode(whole[..<count]) == nil) }
    #expect(ClasslessRoute.decode(hex("21 0a00000000 0a000001")[...]) == nil)
    #expect(ClasslessRoute.decode([]) == [])
  }
}

struct DomainSearchTests {
  @Test("RFC 3397's own example, compressed, is read")
  func compressed() {
    // eng.apple.com. and marketing.apple.com., the second with a pointer to "apple" at 4.
    let bytes = hex("03 656e67 05 6170706c65 03 636f6d 00  09 6d61726b6574696e67 c004")
    #expect(DomainSearch.decode(bytes[...]) == ["eng.apple.com", "marketing.apple.com"])
  }

  @Test("names are written plainly, and read back")
  func plain() {
    let bytes = hex("02 6162 01 63 00 01 64 00")
    #expect(DomainSearch.encode(["ab.c", "d"]) == bytes)
    #expect(DomainSearch.decode(bytes[...]) == ["ab.c", "d"])
    #expect(DomainSearch.encode(["", "a..b", String(repeating: "x", count: 64)]).isEmpty)
  }

  @Test(
    "pointers that go forward, in circles or beyond the end, and names without an end, are refused",
    arguments: [
      "c000", "01 61 c000", "01 61 c002", "01 61 c0", "01 61", "05 61", "00", "40 61 00", "02 1b5b 00", "c0ff",
    ])
  func malformed(_ bytes: String) {
    #expect(DomainSearch.decode(hex(bytes)[...]) == nil)
  }

  @Test("a name that pointers make longer than DNS allows is refused")
  func tooLong() {
    // Each name is one label more in front of the name before.
    var bytes: [UInt8] = [63] + [UInt8](repeating: 97, count: 63) + [0]
    var last = 0
    for _ in 0..<4 {
      let here = bytes.count
      bytes += [63] + [UInt8](repeating: 98, count: 63) + [0xC0 | UInt8(last >> 8), UInt8(last & 0xFF)]
      last = here
    }
    #expect(DomainSearch.decode(bytes[...]) == nil)
    #expect(DomainSearch.decode(bytes[..<(65 + 2 * 66)])?.count == 3)
  }
}

struct NetworkOptionTests {
  private func offer(
    _ list: [UInt8]?, _ change: (inout DHCPMessage) -> Void = { _ in }
  ) throws -> ResponderDesk.Reply {
    try #require(
      try ResponderDesk(bootFile: nil).reply(
        to: request(.discover, list.map { [.parameterRequestList: $0] } ?? [:], change)))
  }

  @Test("MTU, domain search and routes are sent to who asks for them, and to no one else")
  func onlyWhereAsked() throws {
    let asked = try offer([1, 3, 26, 119, 121]).message
    #expect(asked.options.unsigned16(.interfaceMTU) == 9000)
    #expect(asked.domainSearch == ["cluster.test", "test"])
    for list in [nil, [1, 3, 6]] as [[UInt8]?] {
      let other = try offer(list).message
      for code in [DHCPOptionCode.interfaceMTU, .domainSearch, .classlessRoutes] {
        #expect(!other.options.contains(code))
      }
      #expect(other.options.addresses(.router) == [address("10.0.0.254")])
    }
  }

  @Test("who takes routes gets the default route among them, and no router option")
  func defaultRoute() throws {
    let message = try offer([1, 3, 121]).message
    #expect(
      message.classlessRoutes?.map(\.description) == ["192.168.0.0/16 via 10.0.0.7", "0.0.0.0/0 via 10.0.0.254"])
    #expect(!message.options.contains(.router))
  }

  @Test("networks behind relay agents have options of their own")
  func relayed() throws {
    let message = try offer([3, 26, 119, 121]) { $0.relay = address("10.2.0.1") }.message
    #expect(!message.options.contains(.interfaceMTU) && !message.options.contains(.classlessRoutes))
    #expect(message.options.addresses(.router) == [address("10.2.0.1")])
  }
}

struct OverloadTests {
  private func written(bootFile: String = "", _ sizes: [Int], maximum: Int = 300) throws -> (DHCPMessage, [UInt8]) {
    var message = DHCPMessage(operation: .reply, hardware: HardwareAddress(card(1)), transaction: 1)
    message.bootFile = text(bootFile)
    var writer = DHCPMessageWriter(fixedPartOf: message, type: .offer, maximumLength: maximum)
    for (index, size) in sizes.enumerated() {
      writer.add(DHCPOptionCode(UInt8(200 + index)), bytes: [UInt8](repeating: UInt8(index), count: size))
    }
    let bytes = writer.finish(echoing: [1, 1, 7])
    return (try DHCPMessage(parsing: bytes.span), bytes)
  }

  @Test("options that do not fit go into file, then into sname, and option 52 says so (RFC 2132, section 9.3)")
  func overload() throws {
    let (message, bytes) = try written([40, 100, 50, 20])
    #expect(message.options[.overload].map(Array.init) == [3])
    for (index, size) in [40, 100, 50, 20].enumerated() {
      #expect(message.options[DHCPOptionCode(UInt8(200 + index))]?.count == size)
    }
    // The first in its place, the second and the last in file, the third in sname, each ended by END.
    #expect(bytes[108] == 201 && bytes[210] == 203 && bytes[232] == 255)
    #expect(bytes[44] == 202 && bytes[96] == 255)
    #expect(message.options.codes.contains(.relayAgentInformation))
    #expect(bytes.count <= 300 + 5)
  }

  @Test("a field is filled to its last byte, which is END")
  func full() throws {
    let (message, bytes) = try written([50, 125, 61])
    #expect(bytes[235] == 255 && bytes[107] == 255)
    #expect(message.options[DHCPOptionCode(201)]?.count == 125 && message.options[DHCPOptionCode(202)]?.count == 61)
    #expect(try written([50, 126]).0.options[DHCPOptionCode(201)] == nil)
  }

  @Test("beside a boot file nothing is overloaded")
  func bootFile() throws {
    let (message, _) = try written(bootFile: "undionly.kpxe", [40, 100])
    #expect(message.bootFile == text("undionly.kpxe"))
    #expect(!message.options.contains(.overload) && !message.options.contains(DHCPOptionCode(201)))
  }

  @Test("where everything fits nothing is overloaded")
  func fits() throws {
    let (message, bytes) = try written([40])
    #expect(!message.options.contains(.overload))
    #expect(bytes[44..<236].allSatisfy { $0 == 0 })
  }

  @Test("an echo of the relay agent's option has its room before all else")
  func relayed() throws {
    let information = [UInt8]([9, 200] + [UInt8](repeating: 5, count: 200))
    let reply = try #require(
      try ResponderDesk(bootFile: nil).reply(
        to: request(.discover, [.relayAgentInformation: information, .clientIdentifier: [UInt8](0...120)]) {
          $0.relay = address("10.2.0.1")
        }))
    #expect(reply.bytes.count <= 548)
    #expect(reply.message.options[.relayAgentInformation].map(Array.init) == information)
    #expect(reply.message.options[.clientIdentifier]?.count == 121)
  }
}
