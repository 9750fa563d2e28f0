import Foundation
import Lab
import NetworkTypes
import Testing

@testable import DHCP

/// dnsmasq as the server that nobody asked for.
@Suite(.enabled(if: NetworkNamespace.isAvailable, Comment(rawValue: NetworkNamespace.unavailable)), .serialized)
struct RogueServerTests {
  private static let address = IPv4Address(10, 77, 0, 9)
  private static let bound = Duration.seconds(60)

  /// Starts dnsmasq on `eth0` of a namespace.
  /// - Parameter options: `--no-ping`: it answers at once, not after three seconds.
  private func dnsmasq(in namespace: NetworkNamespace, _ options: String...) async throws -> RunningProcess {
    try await namespace.configure("eth0", address: Self.address)
    let server = try RunningProcess(
      Command(
        [
          "dnsmasq", "--keep-in-foreground", "--port=0", "--conf-file=/dev/null", "--pid-file", "--user=root",
          "--log-facility=-", "--log-dhcp", "--dhcp-leasefile=/dev/null", "--interface=eth0", "--bind-interfaces",
          "--dhcp-range=10.77.0.200,10.77.0.210,10m",
        ] + options, namespace: namespace))
    try await server.log.line(containing: "DHCP, IP range", within: .seconds(20))
    return server
  }

  @Test("a server looks before it answers, and reports another one with address and card", arguments: [true, false])
  func found(atOnce: Bool) async throws {
    var other: RunningProcess?
    func prepare(_ clients: NetworkNamespace, _ interface: String) async throws {
      other = atOnce ? try await dnsmasq(in: clients, "--no-ping") : try await dnsmasq(in: clients)
    }
    try await DHCPLab.with(searchMilliseconds: 1000, prepare: prepare) { lab in
      // One that probes addresses itself answers too late to be waited for, and is heard all the same.
      #expect(await lab.exchanges.holds(within: Self.bound) { !lab.exchanges.otherServers.isEmpty })
      #expect(lab.exchanges.otherServers == [OtherServer(address: Self.address, card: lab.card)])
      #expect(lab.exchanges.all.isEmpty)
    }
    await other?.stop()
  }

  private struct Finding: Decodable {
    var check: String
    var ok: Bool
    var detail: String
  }

  private func doctor(_ appliance: Appliance) async throws -> (findings: [Finding], code: Int32?) {
    let result = try await appliance.command("doctor", "--json").run()
    return (try JSONDecoder().decode([Finding].self, from: Data(result.output.utf8)), result.exitCode)
  }

  @Test("log, watch, info and doctor name another server, doctor also where the appliance does not run")
  func everywhere() async throws {
    let card = MACAddress(rawValue: 0x0200_0000_0099)
    try await Site.with { site in
      let appliance = try Appliance(site, state: site.directory + "/state")
      func others(_ findings: [Finding]) -> [Finding] { findings.filter { $0.check.contains("other DHCP servers") } }
      let clean = try await doctor(appliance)
      #expect(others(clean.findings).map(\.ok) == [true])

      try await appliance.start()
      _ = try await appliance.log?.line(containing: "no other DHCP server answers", within: .seconds(60))
      let watch = try RunningProcess(appliance.command("watch"))
      try await watch.log.line(containing: "seconds", within: .seconds(20))
      try await site.withHost("rogue", mac: card) { host in
        let other = try await dnsmasq(in: host, "--no-ping")
        let stopped = try await doctor(appliance)
        #expect(others(stopped.findings).map(\.ok) == [false] && stopped.code == 1)
        #expect(others(stopped.findings).first?.detail.contains("\(Self.address) (card \(card))") == true)
        // The appliance has heard what the other server answered, and shows it to who watches.
        let event = try await watch.log.line(containing: "other server", within: .seconds(20))
        #expect(event.contains("\(Self.address)") && event.contains("\(card)"))
        await appliance.kill()
        try await watch.log.line(containing: "the appliance has stopped", within: .seconds(60))

        let alone = try await doctor(appliance)
        #expect(others(alone.findings).map(\.ok) == [false])

        // It is found at the start, before anybody is answered.
        try await appliance.start()
        let line = try #require(
          try await appliance.log?.line(containing: "another DHCP server answers", within: .seconds(20)))
        #expect(line.contains("\(Self.address)") && line.contains("\(card)"))
        // Who watches goes on with what happens now.
        try await watch.log.line(containing: "the appliance is there again", within: .seconds(60))
        try await watch.log.line(containing: "an unknown number of events", within: .seconds(60))
        let info = try await appliance.run("info")
        #expect(info.contains("\(Self.address), card \(card)"), "\(info)")
        await other.stop()
      }
      await watch.stop()
      await appliance.stop()
    }
  }
}
