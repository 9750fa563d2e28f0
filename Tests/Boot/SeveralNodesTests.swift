import Lab
import NetworkTypes
import Testing

@Suite("Nodes of one appliance", .enabled(if: NetworkNamespace.isAvailable, "needs private namespaces"))
struct SeveralNodesTests {
  @Test("boot two capsules of different Debian releases side by side", .timeLimit(.minutes(40)))
  func twoReleases() async throws {
    try await withTurns(2) {
      try await withAppliance(suites: ["bookworm", "trixie"]) { site, appliance in
        let first = Machine.Configuration(number: 1, processors: 1)
        let second = Machine.Configuration(number: 2, processors: 1)
        try await appliance.run("node", "add", second.mac.description, "newer", "--vnfs", "debian-13")
        let older = try await site.start(first)
        let newer = try await site.start(second)
        let olderNode = try await appliance.node(of: older, reaches: "ready", within: bootBound)
        let newerNode = try await appliance.node(of: newer, reaches: "ready", within: bootBound)
        #expect(olderNode.vnfs == "debian-12")
        #expect(newerNode.name == "newer")
        #expect(newerNode.vnfs == "debian-13")
        #expect(olderNode.address != newerNode.address)
        #expect(older.console.text.contains("Debian GNU/Linux 12"))
        #expect(newer.console.text.contains("Debian GNU/Linux 13"))
        await older.powerOff()
        await newer.powerOff()
      }
    }
  }
}
