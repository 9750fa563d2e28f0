import NetworkTypes
import Testing

@testable import DHCP

@Suite("Values of addresses")
struct AddressTableTests {
  private func address(_ text: String) throws -> IPv4Address { try #require(IPv4Address(text)) }

  @Test("Values of a range are found at their addresses alone")
  func ranges() throws {
    let ranges = [try #require(IPv4Range("10.1.0.1-10.1.3.254")), try #require(IPv4Range("10.2.0.7-10.2.0.7"))]
    var table = AddressTable<Int>(ranges)
    let all = ranges.flatMap { range in (0..<range.count).map { range[$0] } }
    for one in all { #expect(table[one] == nil) }
    for (index, one) in all.enumerated() { table[one] = index }
    for (index, one) in all.enumerated() { #expect(table[one] == index) }
    for one in all.prefix(300) { table[one] = nil }
    for (index, one) in all.enumerated() { #expect(table[one] == (index < 300 ? nil : index)) }
  }

  @Test("Addresses beside the ranges have values too")
  func beside() throws {
    var table = AddressTable<String>([try #require(IPv4Range("10.1.0.1-10.1.0.9"))])
    let beside = try ["10.1.0.0", "10.1.0.10", "0.0.0.0", "255.255.255.255"].map(address)
    for one in beside { table[one] = one.description }
    for one in beside { #expect(table[one] == one.description) }
    #expect(table[try address("10.1.0.1")] == nil)
    table[beside[1]] = nil
    #expect(table[beside[1]] == nil)
    #expect(table[beside[0]] == "10.1.0.0")
  }

  @Test("A value is changed where it is")
  func change() throws {
    var table = AddressTable<Int>([try #require(IPv4Range("10.0.0.0-10.255.255.255"))])
    let last = try address("10.255.255.255")
    table[last] = 1
    table[last]? += 1
    #expect(table[last] == 2)
    table[try address("10.0.0.0")]? += 1
    #expect(table[try address("10.0.0.0")] == nil)
  }
}
