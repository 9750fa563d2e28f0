import DHCPWire
import Foundation
import Lab
import NetworkTypes
import Testing

@testable import DHCP

/// Other people's relay agents, between our server and clients on networks of their own.
@Suite(.enabled(if: NetworkNamespace.isAvailable, Comment(rawValue: NetworkNamespace.unavailable)), .serialized)
struct DHCPRelayTests {
  /// The server's cable ends in the relay's namespace (`eth0`); behind it is another cable to a client (`eth0` there).
  private struct RelayLab {
    let lab: DHCPLab
    let client: NetworkNamespace
    var relay: NetworkNamespace { lab.clients }

    /// Runs a client behind the relay, which prints what it is told, for the time of `body`.
    func withClient(_ body: (RunningProcess) async throws -> Void) async throws {
      let script = FileManager.default.temporaryDirectory.appending(path: "udhcpc-\(UUID())").path
      defer { unlink(script) }
      try await DHCPInteropTests.makeProgram(script, DHCPInteropTests.script)
      let process = try RunningProcess(
        client.command("busybox", "udhcpc", "-f", "-t", "20", "-T", "1", "-i", "eth0", "-s", script))
      _ = try await process.log.line(containing: "told=bound", within: .seconds(60))
      try await body(process)
      await process.stop()
    }
  }

  /// Of the network behind the relay. Which of it a client gets is the server's to choose.
  private static let pool = IPv4Address(10, 88, 0, 50)...IPv4Address(10, 88, 0, 59)
  private static let addressOfRelay = IPv4Address(10, 77, 0, 2)

  private func withRelay(
    seconds: UInt32 = 600, _ body: (RelayLab) async throws -> Void
  ) async throws {
    let networks = try [
      ("10.88.0.0/24", "10.88.0.50-10.88.0.59", "10.88.0.1"),
      ("10.99.0.0/16", "10.99.7.10-10.99.7.12", "10.99.0.1"),
    ].map { subnet, pool, router in
      DHCPServerConfiguration.Network(
        subnet: try #require(IPv4Subnet(subnet)), pools: [try #require(IPv4Range(pool))], router: IPv4Address(router))
    }
    try await DHCPLab.with(leaseSeconds: seconds, relayed: networks) { lab in
      try await NetworkNamespace.with("behind") { client in
        try await lab.clients.connect("down0", to: client, "eth0")
        try await lab.clients.configure("down0", address: IPv4Address(10, 88, 0, 1))
        try await lab.clients.configure("eth0", address: Self.addressOfRelay)
        try await lab.clients.command("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward").run().check()
        for network in networks {
          // Appended: other servers of this process have such networks of their own, each on its cable.
          try await Command(
            "ip", "route", "append", "\(network.subnet)", "via", "\(Self.addressOfRelay)", "dev",
            lab.server.configuration.interface
          ).run().check()
        }
        try await body(RelayLab(lab: lab, client: client))
      }
    }
  }

  /// Starts ISC's relay agent and waits until it listens.
  private func startISC(_ site: RelayLab, _ options: String...) async throws -> RunningProcess {
    let relay = try RunningProcess(
      Command(
        ["dhcrelay", "-4", "-d", "--no-pid", "-i", "eth0", "-i", "down0"] + options + ["\(DHCPLab.serverAddress)"],
        namespace: site.relay))
    _ = try await relay.log.line(containing: "Sending on   Socket/fallback", within: .seconds(30))
    return relay
  }

  @Test("behind ISC's relay agent a client gets an address of the relayed network, and renews it by unicast")
  func iscRelay() async throws {
    try await withRelay { site in
      // -a: option 82, which has to come back last: the agent takes it out of the reply.
      let relay = try await startISC(site, "-a")
      let watch = try RunningProcess(
        site.relay.command(
          "tcpdump", "--immediate-mode", "-i", "eth0", "-l", "-n", "-vvv", "-s", "0",
          "udp src port 67 and src host 10.77.0.1"))
      _ = try await watch.log.line(containing: "listening on", within: .seconds(30))
      try await site.withClient { client in
        let address = try #require(site.lab.store.bound.first?.address)
        #expect(Self.pool.contains(address))
        for line in ["ip=\(address)", "mask=24", "router=10.88.0.1", "serverid=10.77.0.1"] {
          #expect(client.log.lines.contains(line), "\(line) is missing in \(client.log.text)")
        }
        #expect(await site.lab.exchanges.holds { site.lab.exchanges.steps == ["DISCOVER>OFFER", "REQUEST>ACK"] })
        #expect(site.lab.exchanges.all.allSatisfy { $0.client.relay == IPv4Address(10, 88, 0, 1) })
        let card = try await site.client.runBlocking { try Interface.hardwareAddress(of: "eth0") }
        #expect(site.lab.store.bound.map(\.holder) == [.hardware(card)])

        try await site.client.ip("route", "add", "default", "via", "10.88.0.1")
        client.signal(SIGUSR1)
        _ = try await client.log.line(containing: "event=renew", within: .seconds(60))
        #expect(site.lab.exchanges.all.contains { $0.reason.contains("renewed") })
        #expect(site.lab.store.bound.map(\.address) == [address])
      }
      // tcpdump names options in the order in which they are sent.
      let deadline = ContinuousClock.now + .seconds(60)
      let isWhole = {
        watch.log.lines.drop { !$0.contains("DHCP-Message (53), length 1: ACK") }.contains { $0.contains("END (255)") }
      }
      while true {
        let position = watch.log.position
        guard !isWhole(), ContinuousClock.now < deadline else { break }
        _ = try? await watch.log.line("another line", from: position, within: .seconds(60)) { _ in true }
      }
      await watch.stop()
      let options = watch.log.lines.filter { $0.contains("), length ") && !$0.contains("proto UDP") }
      let informations = options.indices.filter { options[$0].contains("Agent-Information (82)") }
      #expect(informations.count >= 2, "\(options)")
      for index in informations { #expect(options[index + 1].contains("END (255)"), "\(options)") }
      await relay.stop()
    }
  }

  @Test("an uplink's link selection (RFC 3527) decides the network, and the answer goes to the agent's uplink address")
  func linkSelection() async throws {
    try await withRelay { site in
      // -U: giaddr is the uplink's address, and sub-option 5 that of the client's link.
      let relay = try await startISC(site, "-U", "eth0")
      try await site.withClient { client in
        let lines = client.log.lines
        #expect(lines.contains { $0.hasPrefix("ip=10.88.0.5") } && lines.contains("router=10.88.0.1"), "\(lines)")
      }
      #expect(await site.lab.exchanges.holds { site.lab.exchanges.steps == ["DISCOVER>OFFER", "REQUEST>ACK"] })
      #expect(site.lab.exchanges.all.allSatisfy { $0.client.relay == Self.addressOfRelay })
      await relay.stop()
    }
  }

  @Test("behind dnsmasq's relay a client gets an address of the relayed network")
  func dnsmasqRelay() async throws {
    try await withRelay { site in
      let relay = try RunningProcess(
        site.relay.command(
          "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--log-dhcp", "--pid-file=",
          "--user=root", "--dhcp-relay=10.88.0.1,\(DHCPLab.serverAddress)"))
      _ = try await relay.log.line(containing: "DHCP relay from 10.88.0.1 to 10.77.0.1", within: .seconds(30))
      try await site.withClient { client in
        let lines = client.log.lines
        #expect(lines.contains { $0.hasPrefix("ip=10.88.0.5") } && lines.contains("serverid=10.77.0.1"), "\(lines)")
      }
      #expect(await site.lab.exchanges.holds { site.lab.exchanges.steps == ["DISCOVER>OFFER", "REQUEST>ACK"] })
      await relay.stop()
    }
  }

  @Test(
    "each relayed network has its own pool, which is exhausted alone; a relay of a network that is none gets silence")
  func networks() async throws {
    try await withRelay { site in
      let lab = site.lab
      func discover(_ relay: IPv4Address, _ number: UInt64) async throws -> [IPv4Address] {
        let before = lab.exchanges.all.count
        try await lab.clients.runBlocking {
          var message = DHCPMessage(
            operation: .request, hardware: HardwareAddress(MACAddress(rawValue: 0x0200_0000_0000 + number)), hops: 1,
            transaction: UInt32(number), relay: relay)
          message.options.set(.messageType, [DHCPMessageType.discover.rawValue])
          let server = try Interface.hardwareAddress(of: "eth0")
          var frame = [UInt8](repeating: 0, count: UDPFrame.headerLength) + message.serialized()
          UDPFrame(
            sourceCard: server, destinationCard: .broadcast, source: Self.addressOfRelay,
            destination: DHCPLab.serverAddress, sourcePort: DHCPPort.server, destinationPort: DHCPPort.server
          ).writeHeaders(into: &frame)
          _ = try FrameSender(interface: "eth0").send(frame)
        }
        guard await lab.exchanges.holds({ lab.exchanges.all.count > before }) else { return [] }
        return lab.exchanges.all.dropFirst(before).compactMap { $0.sent == nil ? nil : $0.address }
      }
      let third = IPv4Address(10, 99, 0, 1)
      var given: Set<IPv4Address> = []
      for number in 1...3 as ClosedRange<UInt64> { given.formUnion(try await discover(third, number)) }
      #expect(given == [IPv4Address(10, 99, 7, 10), IPv4Address(10, 99, 7, 11), IPv4Address(10, 99, 7, 12)])
      #expect(try await discover(third, 4) == [])
      #expect(lab.exchanges.all.last?.reason.contains("exhausted") == true)
      let fourth = try await discover(IPv4Address(10, 88, 0, 1), 4)
      #expect(fourth.count == 1 && fourth.allSatisfy(Self.pool.contains))
      let ignored = lab.server.statistics.ignored["unknown-network"] ?? 0
      try await lab.clients.runBlocking {
        var message = DHCPMessage(
          operation: .request, hardware: HardwareAddress(lab.card), transaction: 9, relay: IPv4Address(192, 0, 2, 1))
        message.options.set(.messageType, [DHCPMessageType.discover.rawValue])
        var frame = [UInt8](repeating: 0, count: UDPFrame.headerLength) + message.serialized()
        UDPFrame(
          sourceCard: lab.card, destinationCard: .broadcast, source: Self.addressOfRelay,
          destination: DHCPLab.serverAddress, sourcePort: DHCPPort.server, destinationPort: DHCPPort.server
        ).writeHeaders(into: &frame)
        _ = try FrameSender(interface: "eth0").send(frame)
      }
      // The one behind it was answered, so it was read.
      let fifth = try await discover(IPv4Address(10, 88, 0, 1), 5)
      #expect(fifth.count == 1 && fifth != fourth && fifth.allSatisfy(Self.pool.contains))
      #expect(lab.server.statistics.ignored["unknown-network"] == ignored + 1)
    }
  }
}
