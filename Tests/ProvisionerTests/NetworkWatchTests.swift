import Foundation
import NetworkTypes
import Testing

@testable import DHCP
@testable import Provisioner

@Suite("What DHCP finds on the network")
struct NetworkWatchTests {
  private let server = OtherServer(address: IPv4Address(192, 168, 1, 1), card: mac(99))

  @Test("Another server and a conflict are shown to who watches, and by info with address, card and time")
  func shown() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    let events = appliance.watch()
    appliance.observer.observed(server)
    appliance.observer.observed(AddressConflict(address: IPv4Address(10, 0, 0, 7), card: mac(98), blockedSeconds: 600))
    appliance.observer.observed(AddressConflict(address: IPv4Address(10, 0, 0, 8), card: nil, blockedSeconds: 600))
    var seen: [TimelineEvent] = []
    for await event in events {
      seen.append(event)
      if seen.count == 3 { break }
    }
    #expect(seen.map(\.event) == ["other server", "conflict", "conflict"])
    #expect(seen.map(\.mac) == [mac(99), mac(98), nil])
    #expect(seen[0].detail.contains("192.168.1.1") && seen[1].detail.contains("10.0.0.7"))
    let network = appliance.info().network
    #expect(network.otherServers.map(\.address) == [server.address] && network.otherServers.map(\.mac) == [mac(99)])
    #expect(network.conflicts.count == 2)
    let json = String(decoding: try JSONEncoder().encode(network), as: UTF8.self)
    #expect(json.contains("\"mac\":null"))
    try await appliance.close()
  }

  @Test("A stranger that is a node has the conflict in its own timeline")
  func ofANode() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    _ = try await appliance.addNode(AddNode(mac: mac(1).description))
    let events = appliance.watch(node: "n0000")
    appliance.observer.observed(AddressConflict(address: IPv4Address(10, 0, 0, 7), card: mac(1), blockedSeconds: 600))
    for await event in events {
      #expect(event.event == "conflict" && event.node == "n0000")
      break
    }
    try await appliance.close()
  }

  @Test("However many servers a hostile machine pretends to be, 64 are remembered, the latest")
  func bounded() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    for number in 1...200 {
      appliance.network.heard(
        OtherServer(address: IPv4Address(rawValue: UInt32(number)), card: mac(number)),
        now: Moment(time: Timestamp(milliseconds: Int64(number)), uptime: Double(number)))
    }
    #expect(appliance.network.view.otherServers.map(\.mac) == (137...200).map { mac($0) })
    try await appliance.close()
  }

  @Test("Info has what DHCP counted for each interface, packets without use by reason")
  func counts() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    appliance.network.count("eth1") {
      var statistics = DHCPStatistics()
      statistics.received = 5
      statistics.ignored = ["cookie": 2]
      return statistics
    }
    let view = try JSONDecoder().decode(InfoView.self, from: try JSONEncoder().encode(appliance.info()))
    #expect(view.network.dhcp.map(\.interface) == ["eth1"])
    #expect(view.network.dhcp.first?.statistics.ignored == ["cookie": 2])
    try await appliance.close()
  }

  @Test("DHCP knows which cards are nodes', and how many nodes have no address yet")
  func standing() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    let policy = appliance.clientPolicy
    #expect(!policy.isKnown(mac(1)) && policy.waiting == 0)
    for number in 1...3 { _ = try await appliance.addNode(AddNode(mac: mac(number).description)) }
    #expect(policy.isKnown(mac(1)) && policy.waiting == 3)
    _ = try await appliance.setNodes(["n0000"], key: "address", value: "10.0.0.77")
    #expect(policy.waiting == 2)
    func lease(_ address: UInt8, _ card: Int, _ state: Lease.State = .bound) -> Lease {
      Lease(address: IPv4Address(10, 0, 0, address), holder: .hardware(mac(card)), state: state, expires: 9)
    }
    try await appliance.leases.commit([lease(21, 2), lease(22, 50)])
    #expect(policy.waiting == 1)
    // Renewed, and another one's address taken over.
    try await appliance.leases.commit([lease(21, 2)])
    try await appliance.leases.commit([lease(22, 3)])
    #expect(policy.waiting == 0)
    // Moved to another address: the old one is another's now.
    try await appliance.leases.commit([lease(23, 3), lease(22, 51)])
    #expect(policy.waiting == 0)
    _ = try await appliance.deleteNodes(["n0001"])
    try await appliance.leases.commit([lease(23, 3, .declined)])
    #expect(!policy.isKnown(mac(2)) && policy.waiting == 1)
    try await appliance.close()
  }
}
