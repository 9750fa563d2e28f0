import DHCPWire
import Lab
import Logging
import NetworkTypes
import Testing

@testable import DHCP

/// Strangers on the segment, with the kernel's own ARP and ICMP to speak for them.
@Suite(.enabled(if: NetworkNamespace.isAvailable, Comment(rawValue: NetworkNamespace.unavailable)), .serialized)
struct DHCPProbeTests {
  private static let bound = Duration.seconds(60)

  @Test("no client is offered an address that a stranger's machine on the segment has, which is reported with its card")
  func stranger() async throws {
    let stranger = IPv4Address(10, 77, 0, 101)
    func prepare(_ clients: NetworkNamespace, _ interface: String) async throws {
      try await clients.ip("address", "add", "\(stranger)/24", "dev", "eth0")
    }
    try await DHCPLab.with(pools: ["10.77.0.100-10.77.0.103"], prepare: prepare) { lab in
      #expect(await lab.exchanges.holds(within: Self.bound) { !lab.exchanges.conflicts.isEmpty })
      #expect(
        lab.exchanges.conflicts == [AddressConflict(address: stranger, card: lab.card, blockedSeconds: 600)])
      let offers = try await Crowd(namespace: lab.clients).run(Crowd.cards(3), to: .offer)
      #expect(Set(offers.values) == Set([100, 102, 103].map { IPv4Address(10, 77, 0, $0) }))
      // It is on record, so that it holds after a restart as well.
      #expect(await lab.exchanges.holds { lab.store.lease(at: stranger)?.state == .declined })
      #expect(lab.server.statistics.conflicts == 1)
    }
  }

  @Test("a whole pool is probed ahead, ten strangers in it are found, and all else is offered without a wait")
  func largePool() async throws {
    let strangers = (0..<10).map { IPv4Address(10, 77, 0, 3 + 25 * $0) }
    func prepare(_ clients: NetworkNamespace, _ interface: String) async throws {
      for address in strangers { try await clients.ip("address", "add", "\(address)/24", "dev", "eth0") }
    }
    try await DHCPLab.with(pools: ["10.77.0.2-10.77.0.254"], prepare: prepare) { lab in
      #expect(await ready(lab, 243))
      let offers = try await Crowd(namespace: lab.clients).run(Crowd.cards(243), to: .offer)
      #expect(Set(offers.values).count == 243)
      #expect(Set(offers.values).isDisjoint(with: strangers))
      #expect(lab.server.statistics.unprobedOffers == 0)
      #expect(Set(lab.exchanges.conflicts.map(\.address)) == Set(strangers))
    }
  }

  @Test("who has an address of the pool in a tagged VLAN on the same cable is no stranger")
  func otherVLAN() async throws {
    let (first, second) = (IPv4Address(10, 77, 0, 100), IPv4Address(10, 77, 0, 101))
    try await DHCPLab.with(pools: ["10.77.0.100-10.77.0.101"]) { lab in
      #expect(await ready(lab, 2))
      try await lab.clients.runBlocking {
        let sender = try FrameSender(interface: "eth0")
        // An announcement (RFC 5227, section 2.3): its own address is the sender's and the target's.
        for (address, isTagged) in [(first, true), (second, false)] {
          var frame = ARPFrame.probe(for: address, from: lab.card)
          frame.replaceSubrange(28..<32, with: frame[38..<42])
          #expect(sender.send(isTagged ? VLAN.tagged(frame) : frame))
        }
      }
      // The second came behind the first.
      #expect(await lab.exchanges.holds(within: Self.bound) { !lab.exchanges.conflicts.isEmpty })
      #expect(lab.exchanges.conflicts.map(\.address) == [second])
    }
  }

  @Test("a stranger that comes after the probe is noticed by the first word it says")
  func latecomer() async throws {
    let stranger = IPv4Address(10, 77, 0, 101)
    try await DHCPLab.with(pools: ["10.77.0.100-10.77.0.101"]) { lab in
      #expect(await ready(lab, 2))
      try await lab.clients.ip("address", "add", "\(stranger)/24", "dev", "eth0")
      _ = try await lab.clients.command("ping", "-c", "1", "-W", "5", "\(DHCPLab.serverAddress)").run()
      #expect(await lab.exchanges.holds(within: Self.bound) { !lab.exchanges.conflicts.isEmpty })
      let offers = try await Crowd(namespace: lab.clients).run(Crowd.cards(1), to: .offer)
      #expect(Array(offers.values) == [IPv4Address(10, 77, 0, 100)])
    }
  }

  @Test("behind a relay agent addresses are probed by ICMP echo; without a route they are offered unprobed and counted")
  func relayed() async throws {
    let (relay, stranger) = (IPv4Address(10, 77, 0, 2), IPv4Address(10, 178, 0, 11))
    func network(_ subnet: String, _ pool: String) throws -> DHCPServerConfiguration.Network {
      .init(subnet: try #require(IPv4Subnet(subnet)), pools: [try #require(IPv4Range(pool))])
    }
    func prepare(_ clients: NetworkNamespace, _ interface: String) async throws {
      try await clients.ip("address", "add", "\(relay)/24", "dev", "eth0")
      try await clients.ip("address", "add", "\(stranger)/32", "dev", "lo")
      try await Command("ip", "route", "add", "10.178.0.0/24", "via", "\(relay)", "dev", interface).run().check()
    }
    let networks = [
      try network("10.178.0.0/24", "10.178.0.10-10.178.0.12"), try network("10.179.0.0/24", "10.179.0.10-10.179.0.12"),
    ]
    try await DHCPLab.with(relayed: networks, prepare: prepare) { lab in
      #expect(await ready(lab, 102))
      #expect(
        lab.exchanges.conflicts == [AddressConflict(address: stranger, card: nil, blockedSeconds: 600)])
      func offer(_ relay: IPv4Address, _ number: UInt64) async throws {
        let card = MACAddress(rawValue: 0x0600_0000_0000 + number)
        var message = DHCPMessage(operation: .request, hardware: HardwareAddress(card), transaction: 1, relay: relay)
        message.options.set(.messageType, [DHCPMessageType.discover.rawValue])
        let payload = message.serialized()
        let server = try Interface.hardwareAddress(of: lab.server.configuration.interface)
        try await lab.clients.runBlocking {
          var frame = [UInt8](repeating: 0, count: UDPFrame.headerLength) + payload
          UDPFrame(
            sourceCard: lab.card, destinationCard: server, source: IPv4Address(10, 77, 0, 2),
            destination: DHCPLab.serverAddress, sourcePort: DHCPPort.server, destinationPort: DHCPPort.server
          ).writeHeaders(into: &frame)
          let sender = try FrameSender(interface: "eth0")
          #expect(sender.send(frame))
        }
      }
      for number in 1...3 as ClosedRange<UInt64> { try await offer(IPv4Address(10, 178, 0, 1), number) }
      #expect(await lab.exchanges.holds(within: Self.bound) { lab.exchanges.all.count == 3 })
      #expect(
        lab.exchanges.all.compactMap(\.address) == [IPv4Address(10, 178, 0, 10), IPv4Address(10, 178, 0, 12)])
      #expect(lab.server.statistics.unprobedOffers == 0)
      try await offer(IPv4Address(10, 179, 0, 1), 4)
      #expect(await lab.exchanges.holds(within: Self.bound) { lab.exchanges.all.count == 4 })
      #expect(lab.exchanges.all.last?.address == IPv4Address(10, 179, 0, 10))
      #expect(await lab.exchanges.holds { lab.server.statistics.unprobedOffers == 1 })
    }
  }

  /// Waits until so many addresses are probed and free.
  private func ready(_ lab: DHCPLab, _ count: Int) async -> Bool {
    let deadline = ContinuousClock.now + Self.bound
    while ContinuousClock.now < deadline {
      if lab.server.statistics.ready == count { return true }
      try? await Task.sleep(for: .milliseconds(50))
    }
    return false
  }
}
