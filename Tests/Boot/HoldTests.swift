import Lab
import NetworkTypes
import Testing

@Suite(
  "A machine that nobody has added, where such are held",
  .enabled(if: NetworkNamespace.isAvailable, "needs private namespaces"))
struct HoldTests {
  private var settings: Appliance.Settings {
    var settings = Appliance.Settings(leaseSeconds: 60)
    settings.extra = "discovery: hold"
    return settings
  }

  @Test(
    "waits in stage 1, says who it is, keeps its lease renewed, and goes on when it is added",
    .timeLimit(.minutes(40)))
  func goesOn() async throws {
    try await withTurns(1) {
      try await withAppliance(settings: settings) { site, appliance in
        let machine = try await site.start(.init(number: 1, firmware: .bios))
        let line = try await machine.console.line(containing: "is held until it is assigned", within: bootBound)
        #expect(line.contains(machine.mac.description) && line.contains("QEMU"))
        #expect(try await appliance.node(machine.mac)?.name.hasPrefix("held-") == true)
        // A lease of 60 seconds is renewed after 30, at the server and nowhere else.
        let watch = try await site.watch(
          "ether src \(machine.mac) and udp dst port 67 and dst host \(Site.serverAddress)")
        try await watch.log.line("a renewal of stage 1", within: .seconds(60)) { $0.contains("BOOTP/DHCP") }
        await watch.stop()
        try await appliance.run("node", "add", machine.mac.description, "n0007")
        let node = try await appliance.node(of: machine, reaches: "ready", within: bootBound)
        #expect(node.name == "n0007")
        #expect(!machine.console.text.contains("the machine restarts now"))
        await machine.powerOff()
      }
    }
  }

  @Test("boots again by itself where it is assigned another kernel line than it has booted", .timeLimit(.minutes(40)))
  func restarts() async throws {
    try await withTurns(1) {
      try await withAppliance(settings: settings) { site, appliance in
        try await appliance.run("group", "set", "kernelArgs", "perseid.test=assigned", "special", "--yes")
        let machine = try await site.start(.init(number: 1, firmware: .bios))
        try await machine.console.line(containing: "is held until it is assigned", within: bootBound)
        try await appliance.run("node", "add", machine.mac.description, "n0007", "--group", "special")
        try await machine.console.line(containing: "the machine restarts now", within: bootBound)
        let node = try await appliance.node(of: machine, reaches: "ready", within: bootBound)
        #expect(node.name == "n0007")
        await machine.powerOff()
      }
    }
  }
}
