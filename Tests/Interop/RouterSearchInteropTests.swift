import Glibc
import Lab
import Logging
import NetworkTypes
import Testing

@testable import DHCP

@Suite(.enabled(if: NetworkNamespace.isAvailable, Comment(rawValue: NetworkNamespace.unavailable)), .serialized)
struct RouterSearchInteropTests {
  private struct Cable {
    let service: RouterSearchService
    let interface: String
    let card: MACAddress
    /// Where machines are; their card is `eth0`.
    let machines: NetworkNamespace

    /// Asks as iPXE does: again and again, after a quarter of a second.
    func search() async throws -> CommandResult {
      let clock = ContinuousClock()
      let end = clock.now + .seconds(60)
      while true {
        let result = try await machines.command("rdisc6", "-1", "-n", "-r", "40", "-w", "250", "eth0")
          .run(timeout: .seconds(20))
        // A cable that was plugged just now takes the kernel a moment to notice.
        guard result.errors.contains("unreachable"), clock.now < end else { return result }
      }
    }
  }

  private func withCable(hasIPv6: Bool = true, _ body: (Cable) async throws -> Void) async throws {
    try await NetworkNamespace.with("router") { machines in
      let interface = "r\(UInt32.random(in: 0x100_0000 ... .max))"
      try await Command(
        "ip", "link", "add", "name", interface, "type", "veth", "peer", "name", "eth0", "netns", machines.name
      ).run().check()
      if !hasIPv6 {
        try await Command("sysctl", "-q", "-w", "net.ipv6.conf.\(interface).disable_ipv6=1").run().check()
      }
      // Addresses that may be used at once: no wait for duplicates of them.
      try await Command("sysctl", "-q", "-w", "net.ipv6.conf.\(interface).accept_dad=0").run().check()
      try await machines.command("sysctl", "-q", "-w", "net.ipv6.conf.eth0.accept_dad=0").run().check()
      // The kernel's own questions are not to mix with the test's.
      try await machines.command("sysctl", "-q", "-w", "net.ipv6.conf.eth0.router_solicitations=0").run().check()
      try await Command("ip", "link", "set", interface, "up").run().check()
      try await machines.ip("link", "set", "eth0", "up")
      let (ready, isReady) = AsyncStream<Void>.makeStream()
      let service = RouterSearchService(
        interface: interface, logger: Logger(label: "router"), whenReady: { isReady.finish() })
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask {
          defer { isReady.finish() }
          try await service.run()
        }
        for await _ in ready {}
        let card = try Interface.hardwareAddress(of: interface)
        let result: Result<Void, any Error>
        do {
          result = .success(
            try await body(Cable(service: service, interface: interface, card: card, machines: machines)))
        } catch { result = .failure(error) }
        group.cancelAll()
        try await group.waitForAll()
        try result.get()
      }
    }
  }

  @Test("a machine that looks for an IPv6 router is told at its second question that there is none")
  func answered() async throws {
    try await withCable { cable in
      let result = try await cable.search().check()
      #expect(result.output.contains("Router lifetime           :            0"), "\(result.output)")
      #expect(result.output.lowercased().contains("\(cable.card)"), "\(result.output)")
      #expect(!result.output.contains("Prefix"), "\(result.output)")
      #expect(cable.service.answers == 1)
    }
  }

  @Test("it is told so by an interface that has no IPv6 as well")
  func answeredWithoutIPv6() async throws {
    try await withCable(hasIPv6: false) { cable in
      _ = try await cable.search().check()
      #expect(cable.service.answers == 1)
    }
  }

  @Test("where a router was heard, no machine is told that there is none")
  func routerIsThere() async throws {
    try await withCable { cable in
      let card = cable.card
      try await cable.machines.runBlocking {
        let sender = try FrameSender(interface: "eth0")
        #expect(sender.send(Self.router(to: card)))
      }
      let result = try await cable.search()
      #expect(result.output.contains("Timed out"), "\(result.output)\(result.errors)")
      #expect(!result.output.contains("Router lifetime"), "\(result.output)")
      #expect(cable.service.answers == 0)
    }
  }

  @Test("where a program on this machine is the router, no machine is told that there is none")
  func routerIsHere() async throws {
    try await withCable { cable in
      let interface = cable.interface
      let result = try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask {
          // To another machine, so that the one that searches goes on.
          let frame = Self.router(to: MACAddress(rawValue: 0x0200_0000_0077))
          let sender = try FrameSender(interface: interface)
          while !Task.isCancelled {
            #expect(sender.send(frame))
            try? await Task.sleep(for: .milliseconds(100))
          }
        }
        defer { group.cancelAll() }
        return try await cable.search()
      }
      #expect(result.output.contains("Timed out"), "\(result.output)\(result.errors)")
      #expect(cable.service.answers == 0)
    }
  }

  @Test("a router of a tagged VLAN on the same cable is none of this network")
  func routerOfVLAN() async throws {
    try await withCable { cable in
      let card = cable.card
      try await cable.machines.runBlocking {
        let sender = try FrameSender(interface: "eth0")
        #expect(sender.send(VLAN.tagged(Self.router(to: card))))
      }
      _ = try await cable.search().check()
      #expect(cable.service.answers == 1)
    }
  }

  /// An advertisement of a router with a lifetime.
  private static func router(to card: MACAddress) -> [UInt8] {
    let router = MACAddress(rawValue: 0x0200_0000_0099)
    var frame = RouterMessage.emptyAdvertisement(from: router, .linkLocal(of: router), to: card, .linkLocal(of: card))
    // A router lifetime of 256 seconds, and the checksum (a one's complement) with it.
    frame[60] = 1
    let (check, borrowed) = (UInt16(frame[56]) << 8 | UInt16(frame[57])).subtractingReportingOverflow(0x0100)
    let sum = borrowed ? check &- 1 : check
    frame[56] = UInt8(sum >> 8)
    frame[57] = UInt8(sum & 0xFF)
    #expect(RouterMessage(frame.span) == .advertisement(card: router, offersAnything: true))
    return frame
  }

  @Test("an interface that is not there is no reason for the service to end: the appliance works without")
  func missingInterface() async throws {
    let (ready, isReady) = AsyncStream<Void>.makeStream()
    let service = RouterSearchService(
      interface: "nosuch0", logger: Logger(label: "router"), whenReady: { isReady.finish() })
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await service.run() }
      for await _ in ready {}
      group.cancelAll()
      try await group.waitForAll()
    }
    #expect(service.answers == 0)
  }
}
