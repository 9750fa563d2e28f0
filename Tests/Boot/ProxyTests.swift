import Foundation
import Lab
import NetworkTypes
import Testing

@Suite(
  "Beside another server, which gives the addresses,",
  .enabled(if: NetworkNamespace.isAvailable, "needs private namespaces"))
struct ProxyTests {
  /// What dnsmasq gives, and for how long: it takes no less than two minutes.
  private static let addresses = "10.77.0.150,10.77.0.199,255.255.255.0,120"

  @Test(
    "a bare machine becomes a node and is ready, and renews its lease with that server",
    .timeLimit(.minutes(40)), arguments: [Machine.Firmware.uefi, .bios, .uefiHTTP])
  func boots(firmware: Machine.Firmware) async throws {
    try await withTurns(1) {
      try await withDHCPServer { site, appliance, dnsmasq in
        let machine = try await site.start(.init(number: 1, firmware: firmware))
        let node = try await appliance.node(of: machine, reaches: "ready", within: bootBound)
        #expect(node.name == "n0000")
        #expect(node.address?.hasPrefix("10.77.0.1") == true)
        let timeline = try await appliance.timeline(node.name)
        let details = timeline.map { "\($0.source) \($0.event): \($0.detail)" }.joined(separator: "\n")
        // Our OFFER has no address, and nothing of ours acknowledges one.
        #expect(timeline.contains { $0.source == "dhcp" && $0.detail.contains(": OFFER,") }, "\(details)")
        #expect(!timeline.contains { $0.source == "dhcp" && $0.detail.contains("ACK 10.77") && !isBootServer($0) })
        switch firmware {
        case .uefi:
          // What a machine loads before it is a node is known by the address that it took from the other server.
          #expect(timeline.contains { $0.event == "finished" && $0.detail.contains("snponly.efi") }, "\(details)")
          #expect(timeline.contains(where: isBootServer), "\(details)")
        case .uefiHTTP: #expect(timeline.contains { $0.source == "http" && $0.event.contains("snponly") }, "\(details)")
        case .bios, .biosUNDI, .uefiSecureBoot: break
        }
        // The lease of the running node, at half its time.
        let position = dnsmasq.log.position
        try await dnsmasq.log.line("the node renews", from: position, within: .seconds(150)) {
          $0.contains("DHCPACK") && $0.contains(machine.mac.description)
        }
        await machine.powerOff()
      }
    }
  }

  @Test(
    "a machine boots whose port 4011 a firewall closes: the answer changes by itself, and is remembered",
    .timeLimit(.minutes(40)))
  func closedPort() async throws {
    try await withTurns(1) {
      try await withDHCPServer { site, appliance, _ in
        let close = "table inet closed { chain in { type filter hook input priority 0; udp dport 4011 drop; }; }"
        try await site.server.command("nft", "-f", "-").run(input: close).check()
        let watch = try RunningProcess(appliance.command("watch"))
        defer { watch.signal(15) }
        // Two attempts with the usual answer, each as long as the firmware waits for port 4011.
        for _ in 0..<2 {
          let position = watch.log.position
          let machine = try await site.start(.init(number: 1, firmware: .uefi))
          try await watch.log.line("the firmware asks", from: position, within: bootBound) {
            $0.contains("UEFI x64 firmware: OFFER,")
          }
          try await machine.console.line("the firmware gives up", within: bootBound) {
            $0.contains("PXE-E") || $0.contains("NBP") || $0.contains("IPv6") || $0.contains("PXEv6")
          }
          await machine.powerOff()
        }
        let machine = try await site.start(.init(number: 1, firmware: .uefi))
        let node = try await appliance.node(of: machine, reaches: "init", within: bootBound)
        let strategies = try await appliance.timeline(node.name).filter { $0.event == "strategy" }
        #expect(strategies.contains { $0.detail.contains("43.6=8") && $0.detail.contains("remembered") })
        struct Why: Decodable {
          struct Strategy: Decodable {
            var delivery: String
            var isProven: Bool
          }
          var strategy: Strategy?
        }
        let why = try await appliance.json(Why.self, "node", "why", node.name)
        #expect(why.strategy?.delivery == "direct" && why.strategy?.isProven == true)
        await machine.powerOff()
      }
    }
  }

  private func isBootServer(_ entry: TimelineEntry) -> Bool {
    entry.source == "dhcp" && entry.detail.contains("asked at port 4011")
  }

  /// An appliance in proxy mode, and dnsmasq at 10.77.0.2 as the server of the addresses.
  private func withDHCPServer(_ body: (Site, Appliance, RunningProcess) async throws -> Void) async throws {
    var settings = Appliance.Settings()
    settings.mode = "proxy"
    try await withAppliance(settings: settings) { site, appliance in
      try await site.withHost("addresses") { host in
        try await host.configure("eth0", address: .init(10, 77, 0, 2), prefixLength: Site.prefixLength)
        let dnsmasq = try RunningProcess(
          host.command(
            "dnsmasq", "--keep-in-foreground", "--log-facility=-", "--conf-file=/dev/null", "--user=root", "--port=0",
            "--interface=eth0", "--dhcp-authoritative", "--dhcp-range=\(Self.addresses)",
            "--dhcp-leasefile=\(site.directory)/dnsmasq.leases", "--pid-file=\(site.directory)/dnsmasq.pid"),
          logFile: site.directory + "/dnsmasq.log")
        try await dnsmasq.log.line(containing: "IP range", within: .seconds(20))
        do {
          try await body(site, appliance, dnsmasq)
        } catch {
          await dnsmasq.stop()
          throw LabError("\(error)\ndnsmasq said last:\n\(dnsmasq.log.tail(20))")
        }
        await dnsmasq.stop()
      }
    }
  }
}
