import Lab
import NetworkTypes
import Testing

@Suite("A node's lease", .enabled(if: NetworkNamespace.isAvailable, "needs private namespaces"))
struct LeaseTests {
  @Test(
    "of a minute is kept renewed: five minutes after ready the node is at its address, and nobody else is",
    .timeLimit(.minutes(40)))
  func isKept() async throws {
    try await withAppliance(settings: .init(leaseSeconds: 60)) { site, appliance in
      // The minutes in which this machine only stays up are the others' to boot in.
      let (machine, node) = try await withTurns(1, first: true) {
        let machine = try await site.start(.init(number: 1))
        return (machine, try await appliance.node(of: machine, reaches: "ready", within: bootBound))
      }
      let address = try #require(node.address.flatMap { IPv4Address($0) })
      let ready = ContinuousClock.now
      let watch = try await site.watch("ether src \(machine.mac) and udp dst port 67")
      // A lease of 60 seconds is renewed after 30: each wait ends with a packet or says that none came.
      while ContinuousClock.now - ready < .seconds(300) {
        let position = watch.log.position
        try await watch.log.line("a renewal of the node", from: position, within: .seconds(60)) {
          $0.contains("BOOTP/DHCP")
        }
      }
      await watch.stop()

      let after = try #require(try await appliance.node(machine.mac))
      #expect(after.address == address.description)
      #expect(after.state == "ready")
      let leases = try await appliance.run("lease", "list").split(separator: "\n")
      #expect(leases.count == 2 && leases[1].hasPrefix("\(address) "), "\(leases)")
      #expect(leases.last?.contains("bound  \(machine.mac)  \(after.name)") == true, "\(leases)")
      #expect(try await appliance.run("info").contains(" addresses, 1 leased, "))
      try await site.withHost("neighbour") { neighbour in
        try await neighbour.configure("eth0", address: .init(10, 77, 0, 50), prefixLength: Site.prefixLength)
        try await neighbour.command("ping", "-c", "3", "-W", "5", address.description).run().check()
        let neighbours = try await neighbour.ip("neighbour", "show", address.description)
        #expect(neighbours.contains(machine.mac.description))
      }
      try await site.withHost("newcomer") { newcomer in
        let offer = try await DHCPAnswer(newcomer)
        #expect(offer.address != address.description)
        #expect(offer.address?.isEmpty == false)
      }
      await machine.powerOff()
    }
  }
}
