import Lab
import NetworkTypes
import Testing

@Suite("An appliance that loses its power", .enabled(if: NetworkNamespace.isAvailable, "needs private namespaces"))
struct ApplianceKilledTests {
  @Test("during a node's download starts again, and the node still becomes ready", .timeLimit(.minutes(40)))
  func duringADownload() async throws {
    try await withTurns(1) {
      try await withAppliance { site, appliance in
        let watch = try await site.watch("tcp and src host \(Site.serverAddress)")
        let machine = try await site.start(.init(number: 1))
        // More than kernel and initramfs together: the root is on its way, and not yet there.
        try await watch.log.line("40 MB sent to the node in one connection", within: bootBound) {
          sent($0) > 40_000_000
        }
        await appliance.kill()
        await watch.stop()
        #expect(!machine.console.text.contains("Welcome to Debian"))
        let before = machine.console.position
        try await appliance.start()
        let node = try await appliance.node(of: machine, reaches: "ready", within: bootBound)
        #expect(node.name == "n0000")
        #expect(machine.isRunning)
        // The same machine went on: its firmware did not start anew.
        #expect(!machine.console.lines.dropFirst(before).contains { $0.contains("SeaBIOS") })
        await machine.powerOff()
      }
    }
  }

  /// How far into its connection a line of tcpdump's reaches, bytes; 0 where it carries no data.
  ///
  /// tcpdump counts from the connection's first packet, which itself has no range.
  private func sent(_ line: String) -> Int {
    guard let match = line.firstMatch(of: /seq \d+:(\d+)/) else { return 0 }
    return Int(match.1) ?? 0
  }
}
