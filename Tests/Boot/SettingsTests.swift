import Lab
import NetworkTypes
import Testing

@Suite("What is set for a node", .enabled(if: NetworkNamespace.isAvailable, "needs private namespaces"))
struct SettingsTests {
  let mac = MACAddress(0x5254_0000_0042)

  @Test("decides its next packet: whether it boots, and at which address", .timeLimit(.minutes(5)))
  func takesEffectAtOnce() async throws {
    try await withAppliance { site, appliance in
      try await appliance.run("node", "add", mac.description, "n0042")
      try await site.withHost("machine", mac: mac) { machine in
        let booting = try await DHCPAnswer.asPXE(machine)
        #expect(booting.bootFile == "undionly.kpxe")

        try await appliance.run("node", "set", "enabled", "false", "n0042", "--yes")
        let disabled = try await DHCPAnswer.asPXE(machine)
        #expect(disabled.bootFile ?? "" == "")
        #expect(try await appliance.run("node", "why", "n0042").contains("enabled"))

        try await appliance.run("node", "set", "enabled", "true", "n0042", "--yes")
        try await appliance.run("node", "set", "address", "10.77.0.42", "n0042", "--yes")
        let fixed = try await DHCPAnswer.asPXE(machine)
        #expect(fixed.bootFile == "undionly.kpxe")
        #expect(fixed.address == "10.77.0.42")
      }
    }
  }

  @Test("survives a kill and a restart, and so do leases", .timeLimit(.minutes(5)))
  func survives() async throws {
    try await withAppliance { site, appliance in
      try await appliance.run("node", "add", mac.description, "n0042")
      try await appliance.run("node", "set", "description", "third from the top", "n0042", "--yes")
      try await site.withHost("laptop") { laptop in
        let first = try await DHCPAnswer(laptop)
        await appliance.kill()
        try await appliance.start()
        #expect(try await appliance.node(mac)?.name == "n0042")
        #expect(try await appliance.run("node", "show", "n0042", "--json").contains("third from the top"))
        let second = try await DHCPAnswer(laptop)
        #expect(second.address == first.address)
        #expect(try await appliance.nodes().count == 1, "a laptop became a node")
      }
    }
  }
}

extension MACAddress {
  fileprivate init(_ rawValue: UInt64) { self.init(rawValue: rawValue) }
}
