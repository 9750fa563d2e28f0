import DHCP
import NetworkTypes
import Testing

@testable import Provisioner

@Suite("Leases as people see them")
struct LeaseViewTests {
  static let now = Timestamp(milliseconds: 1_000_000_500)

  private func address(_ host: UInt8) -> IPv4Address { IPv4Address(10, 0, 0, host) }

  /// Two nodes, one with a fixed address, and leases of every kind; the pool is 10.0.0.10-10.0.0.19.
  private func filled(_ adjust: (inout Configuration) -> Void = { _ in }) async throws -> Appliance {
    let appliance = try await makeAppliance(try TestDirectory(), adjust)
    _ = try await appliance.addNode(AddNode(mac: mac(1).description, name: "n0001"))
    _ = try await appliance.addNode(AddNode(mac: mac(2).description, name: "n0002"))
    _ = try await appliance.addNode(AddNode(mac: mac(3).description, name: "ib", clientid: "ff0102"))
    _ = try await appliance.setNodes(["n0002"], key: "address", value: "10.0.0.19")
    try await RegistryLeases(store: appliance.registry.store).commit([
      Lease(address: address(12), holder: .hardware(mac(1)), state: .bound, expires: 1_000_600),
      Lease(
        address: address(11), holder: .hardware(mac(9)), state: .bound, expires: 1_000_100, hostName: "bmc\u{1B}[2J"),
      Lease(address: address(10), holder: .identifier([0xFF, 1, 2]), state: .bound, expires: 1_000_001),
      Lease(address: address(13), holder: .nobody, state: .declined, expires: 1_000_100),
      Lease(address: address(14), holder: .hardware(mac(8)), state: .bound, expires: 1_000_000),
      Lease(address: address(15), holder: .hardware(mac(7)), state: .released, expires: 1_000_600),
      Lease(address: address(16), holder: .hardware(mac(2)), state: .bound, expires: 999_000),
    ])
    return appliance
  }

  @Test("Those that hold now in the order of their addresses, with the node or the machine's own name")
  func now() async throws {
    let appliance = try await filled()
    let leases = appliance.leases(all: false, now: Self.now)
    #expect(leases.map(\.address) == [address(10), address(11), address(12), address(13)])
    #expect(leases.map(\.state) == [.bound, .bound, .bound, .declined])
    #expect(leases.map(\.node) == ["ib", nil, "n0001", nil])
    #expect(leases.map(\.mac) == [nil, mac(9), mac(1), nil])
    #expect(leases.map(\.clientid) == ["ff0102", nil, nil, nil])
    // What a stranger calls itself moves nobody's cursor.
    #expect(leases[1].hostName == "bmc?[2J")
    #expect(leases[2].expires == Timestamp(milliseconds: 1_000_600_000))
    try await appliance.close()
  }

  @Test("All of them: those too whose time is over")
  func all() async throws {
    let appliance = try await filled()
    let leases = appliance.leases(all: true, now: Self.now)
    #expect(leases.dropFirst(4).map(\.address) == [address(14), address(15), address(16)])
    #expect(leases.dropFirst(4).map(\.state) == [.expired, .released, .expired])
    try await appliance.close()
  }

  @Test("A pool is counted: leased, kept for nodes, used by strangers, free")
  func pool() async throws {
    let appliance = try await filled { $0.dhcp.router = IPv4Address(10, 0, 0, 18) }
    let network = try #require(IPv4Subnet(containing: address(0), prefixLength: 24))
    let range = try #require(IPv4Range(address(10), address(19)))
    let served = ServedInterface(name: "lo", index: 1, address: address(1), subnet: network, pool: range)
    // Of ten addresses one is the router's; n0002 has one set aside and had another before.
    #expect(
      appliance.pools(of: [served], now: Self.now) == [
        PoolView(network: network, pool: range, addresses: 9, bound: 3, kept: 2, declined: 1, free: 3)
      ])
    try await appliance.close()
  }
}
