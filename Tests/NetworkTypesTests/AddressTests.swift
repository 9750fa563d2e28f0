import NetworkTypes
import Testing

@Suite struct MACAddressTests {
  @Test(arguments: ["52:54:00:12:34:56", "52-54-00-12-34-56", "525400123456", "52:54:00:12:34:56".uppercased()])
  func `reads every customary way to write a card's address`(text: String) {
    #expect(MACAddress(text) == MACAddress(rawValue: 0x5254_0012_3456))
  }

  @Test(arguments: [
    "", "52:54:00:12:34", "52:54:00:12:34:5g", "52:54-00:12:34:56", "52.54.00.12.34.56", "52:54:00:12:34:56 ",
    "5254001234567",
  ])
  func `refuses what is no card's address`(text: String) {
    #expect(MACAddress(text) == nil)
  }

  @Test func `writes lower-case pairs with the separator asked for`() {
    let address = MACAddress(rawValue: 0x0A0B_0CDD_EEFF)
    #expect(address.description == "0a:0b:0c:dd:ee:ff")
    #expect(address.formatted(separator: "-") == "0a-0b-0c-dd-ee-ff")
  }

  @Test func `keeps the wire's order of bytes`() {
    let address = MACAddress(bytes: [1, 2, 3, 4, 5, 6])
    #expect(address?.rawValue == 0x0102_0304_0506)
    #expect(address?.bytes == [1, 2, 3, 4, 5, 6])
    #expect(MACAddress(bytes: [1, 2, 3, 4, 5]) == nil)
  }

  @Test func `tells one card from a group and from nothing`() {
    #expect(MACAddress("52:54:00:12:34:56")?.isUnicast == true)
    #expect(MACAddress("01:00:5e:00:00:01")?.isUnicast == false)
    #expect(MACAddress.broadcast.isUnicast == false)
    #expect(MACAddress(rawValue: 0).isUnicast == false)
  }
}

@Suite struct IPv4AddressTests {
  @Test func `reads and writes four decimal numbers`() {
    #expect(IPv4Address("10.0.200.254") == IPv4Address(10, 0, 200, 254))
    #expect(IPv4Address(10, 0, 200, 254).description == "10.0.200.254")
    #expect(IPv4Address(10, 0, 200, 254).rawValue == 0x0A00_C8FE)
  }

  @Test(arguments: [
    "", "10.0.0", "10.0.0.0.1", "10.0.0.256", "10.0.0.01", "10.0.0.-1", "10.0.0.1 ", "10..0.1", "a.b.c.d",
  ])
  func `refuses what is no address`(text: String) {
    #expect(IPv4Address(text) == nil)
  }

  @Test func `sorts by number, not by text`() throws {
    let nine = try #require(IPv4Address("10.0.0.9"))
    let ten = try #require(IPv4Address("10.0.0.10"))
    #expect(nine < ten)
  }
}

@Suite struct IPv4SubnetTests {
  @Test func `knows its mask, its bounds and its hosts`() throws {
    let subnet = try #require(IPv4Subnet("10.0.5.7/16"))
    #expect(subnet.description == "10.0.0.0/16")
    #expect(subnet.netmask == IPv4Address(255, 255, 0, 0))
    #expect(subnet.broadcast == IPv4Address(10, 0, 255, 255))
    #expect(subnet.contains(IPv4Address(10, 0, 99, 1)))
    #expect(!subnet.contains(IPv4Address(10, 1, 0, 1)))
    #expect(!subnet.isHost(IPv4Address(10, 0, 0, 0)))
    #expect(!subnet.isHost(IPv4Address(10, 0, 255, 255)))
    #expect(subnet.isHost(IPv4Address(10, 0, 255, 254)))
  }

  @Test func `gives both addresses of a point-to-point network to hosts`() throws {
    let subnet = try #require(IPv4Subnet("192.0.2.0/31"))
    #expect(subnet.isHost(IPv4Address(192, 0, 2, 0)))
    #expect(subnet.isHost(IPv4Address(192, 0, 2, 1)))
  }

  @Test func `spans everything with a prefix of no bits`() throws {
    let subnet = try #require(IPv4Subnet("0.0.0.0/0"))
    #expect(subnet.contains(.broadcast))
    #expect(subnet.netmask == .any)
  }

  @Test(arguments: ["10.0.0.0", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "10.0.0.0/+8", "/8", "10.0.0.0/8/8"])
  func `refuses what is no network`(text: String) {
    #expect(IPv4Subnet(text) == nil)
  }
}

@Suite struct IPv4RangeTests {
  @Test func `counts both ends`() throws {
    let range = try #require(IPv4Range("10.0.1.1-10.0.2.0"))
    #expect(range.count == 256)
    #expect(range[0] == IPv4Address(10, 0, 1, 1))
    #expect(range[255] == IPv4Address(10, 0, 2, 0))
    #expect(range.contains(IPv4Address(10, 0, 1, 255)))
    #expect(!range.contains(IPv4Address(10, 0, 2, 1)))
  }

  @Test func `reaches over all addresses without overflow`() throws {
    let range = try #require(IPv4Range("0.0.0.0-255.255.255.255"))
    #expect(range.count == 1 << 32)
    #expect(range[range.count - 1] == .broadcast)
  }

  @Test(arguments: ["10.0.0.2-10.0.0.1", "10.0.0.1", "10.0.0.1-", "10.0.0.1 - 10.0.0.2", "10.0.0.1-10.0.0.2-10.0.0.3"])
  func `refuses what is no range`(text: String) {
    #expect(IPv4Range(text) == nil)
  }
}
