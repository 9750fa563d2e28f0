import DHCPClient
import DHCPWire
import Foundation
import Glibc
import Lab
import Logging
import NetworkTypes
import Testing

@testable import DHCP

@Suite(.enabled(if: NetworkNamespace.isAvailable, Comment(rawValue: NetworkNamespace.unavailable)), .serialized)
struct DHCPInteropTests {
  /// Prints what busybox tells its script, one word=value per line.
  static let script = """
    #!/bin/sh
    echo "event=$1"
    for name in ip mask router dns domain hostname serverid lease mtu search staticroutes; do
      eval "value=\\${$name:-}"
      echo "$name=$value"
    done
    if [ "$1" = bound ]; then
      ip address flush dev "$interface"
      ip address add "$ip/$mask" dev "$interface"
    fi
    echo "told=$1"
    """

  private func withScript<Result>(_ body: (String) async throws -> Result) async throws -> Result {
    let path = FileManager.default.temporaryDirectory.appending(path: "udhcpc-\(UUID())").path
    defer { unlink(path) }
    try await Self.makeProgram(path, Self.script)
    return try await body(path)
  }

  /// Another process writes it: were it open here for a moment, a child that another test starts in that moment
  /// would hold it open too, and it could not be run ("text file busy").
  static func makeProgram(_ path: String, _ text: String) async throws {
    try text.write(toFile: path + ".text", atomically: true, encoding: .utf8)
    defer { unlink(path + ".text") }
    try await Command("install", "-m", "755", path + ".text", path).run(timeout: .seconds(20)).check()
  }

  @Test("busybox udhcpc gets a lease with network, router, name server, domain and host name")
  func udhcpcGetsALease() async throws {
    try await DHCPLab.with { lab in
      try await withScript { script in
        let result = try await lab.clients.command(
          "busybox", "udhcpc", "-f", "-n", "-q", "-t", "5", "-T", "1", "-i", "eth0", "-s", script, "-O", "hostname"
        ).run(timeout: .seconds(20)).check()
        let lines = result.output.split(separator: "\n").map(String.init)
        let bound = try #require(lab.store.bound.first)
        #expect(bound.holder == .hardware(lab.card))
        for line in [
          "event=bound", "ip=\(bound.address)", "mask=24", "router=10.77.0.1", "dns=10.77.0.1",
          "domain=cluster.test", "hostname=n0001", "serverid=10.77.0.1", "lease=600",
        ] {
          #expect(lines.contains(line), "\(line) is missing in \(result.output)")
        }
        #expect(await lab.exchanges.holds { lab.exchanges.steps == ["DISCOVER>OFFER", "REQUEST>ACK"] })
      }
    }
  }

  @Test("busybox udhcpc reads MTU, search domains and routes where it asks for them, the default route among these")
  func udhcpcReadsNetworkOptions() async throws {
    try await DHCPLab.with { lab in
      try await withScript { script in
        let result = try await lab.clients.command(
          "busybox", "udhcpc", "-f", "-n", "-q", "-t", "5", "-T", "1", "-i", "eth0", "-s", script,
          "-O", "mtu", "-O", "search", "-O", "staticroutes"
        ).run(timeout: .seconds(20)).check()
        let lines = result.output.split(separator: "\n").map(String.init)
        for line in [
          "mtu=1400", "search=cluster.test example.test",
          "staticroutes=192.168.128.0/17 10.77.0.7 0.0.0.0/0 10.77.0.1", "router=",
        ] {
          #expect(lines.contains(line), "\(line) is missing in \(result.output)")
        }
      }
    }
  }

  @Test("busybox udhcpc renews by unicast and gives its lease back when it is told to")
  func udhcpcRenewsAndReleases() async throws {
    try await DHCPLab.with { lab in
      try await withScript { script in
        let client = try RunningProcess(
          lab.clients.command(
            "busybox", "udhcpc", "-f", "-R", "-t", "5", "-T", "1", "-i", "eth0", "-s", script))
        #expect(await lab.exchanges.contains("REQUEST>ACK"))
        _ = try await client.log.line(containing: "event=bound", within: .seconds(60))
        client.signal(SIGUSR1)
        _ = try await client.log.line(containing: "event=renew", within: .seconds(60))
        // It may take more than one: udhcpc opens its socket only after it has sent the first, and
        // misses an answer that comes at once.
        #expect(await lab.exchanges.holds { lab.exchanges.all.count { $0.received == "REQUEST" } > 1 })
        let renewals = lab.exchanges.all.filter { $0.received == "REQUEST" }.dropFirst()
        #expect(!renewals.isEmpty)
        #expect(renewals.allSatisfy { $0.sent == "ACK" && $0.reason.contains("renewed") })
        let address = try #require(lab.store.bound.first?.address)
        client.signal(SIGTERM)
        #expect(await lab.exchanges.contains("RELEASE>"))
        try await client.exit(within: .seconds(60))
        #expect(lab.store.lease(at: address)?.state == .released)
      }
    }
  }

  @Test("isc-dhcp-client gets a lease, the same address again after a release, and NAK for a wrong one it remembers")
  func dhclientBindsReleasesAndIsRefused() async throws {
    try await DHCPLab.with { lab in
      let directory = FileManager.default.temporaryDirectory.appending(path: "dhclient-\(UUID())").path
      try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
      defer { try? FileManager.default.removeItem(atPath: directory) }
      let script = directory + "/script"
      try await Self.makeProgram(
        script,
        "#!/bin/sh\n[ \"$reason\" = BOUND ] && ip address add \"$new_ip_address/24\" dev \"$interface\"\nexit 0\n")
      let common = ["-v", "-sf", script, "-lf", directory + "/leases", "-pf", directory + "/pid", "eth0"]
      func dhclient(_ options: String...) async throws -> CommandResult {
        try await Command(["dhclient"] + options + common, namespace: lab.clients).run(timeout: .seconds(30)).check()
      }
      _ = try await dhclient("-1")
      let address = try #require(lab.store.bound.first?.address)
      _ = try await dhclient("-r")
      #expect(await lab.exchanges.contains("RELEASE>"))
      #expect(lab.store.lease(at: address)?.state == .released)
      _ = try await dhclient("-1")
      #expect(lab.store.bound.map(\.address) == [address])
      _ = try await dhclient("-x")

      // A machine that comes from another network remembers that one's address.
      let leases = directory + "/leases"
      let remembered = try String(contentsOfFile: leases, encoding: .utf8)
        .replacingOccurrences(of: "\(address)", with: "192.0.2.77")
      try remembered.write(toFile: leases, atomically: true, encoding: .utf8)
      try await lab.clients.ip("address", "flush", "dev", "eth0")
      let result = try await dhclient("-1")
      #expect(result.errors.contains("DHCPNAK"), "\(result.errors)")
      #expect(await lab.exchanges.contains("REQUEST>NAK"))
      #expect(lab.store.bound.map(\.address) == [address])
      _ = try await dhclient("-x")
    }
  }

  @Test("our own client gets a lease without an address on its card, renews it by unicast and gives it back")
  func ourClient() async throws {
    try await DHCPLab.with { lab in
      let card = lab.card
      let lease = try await lab.clients.runBlocking {
        try DHCPClient.acquire(on: "eth0", hardwareAddress: card, vendorClass: "perseid-stage1", within: 10)
      }
      #expect(lab.store.lease(at: lease.address)?.holder == .hardware(card))
      #expect(lease.prefixLength == 24)
      #expect(lease.router == DHCPLab.serverAddress)
      #expect(lease.serverIdentifier == DHCPLab.serverAddress)
      #expect((lease.leaseSeconds, lease.renewalSeconds, lease.rebindingSeconds) == (600, 300, 525))
      #expect(lease.hostName == "n0001")
      #expect(lab.exchanges.all.allSatisfy { $0.client.speaker == .perseid })

      try await lab.clients.ip("address", "add", "\(lease.address)/24", "dev", "eth0")
      let renewed = try await lab.clients.runBlocking {
        try DHCPClient.renew(lease, on: "eth0", hardwareAddress: card, vendorClass: "perseid-node", within: 10)
      }
      #expect(renewed.address == lease.address)
      var late = lease
      late.rebindingSeconds = 0
      let rebinding = late
      let rebound = try await lab.clients.runBlocking {
        try DHCPClient.renew(rebinding, on: "eth0", hardwareAddress: card, vendorClass: "perseid-node", within: 10)
      }
      #expect(rebound.address == lease.address)
      #expect(await lab.exchanges.holds { lab.exchanges.all.filter { $0.reason.contains("renewed") }.count >= 2 })

      try await lab.clients.runBlocking { try DHCPClient.release(lease, on: "eth0", hardwareAddress: card) }
      #expect(await lab.exchanges.contains("RELEASE>"))
    }
  }

  @Test("the one card's firmware, iPXE and operating system get one address, whatever identifiers they send")
  func oneCardOneLease() async throws {
    try await DHCPLab.with { lab in
      for options in [["-C"], ["-x", "0x3d:00112233445566"], ["-V", "PXEClient:Arch:00000:UNDI:002001"]] {
        try await Command(
          ["busybox", "udhcpc", "-f", "-n", "-q", "-t", "5", "-T", "1", "-i", "eth0", "-s", "/bin/true"] + options,
          namespace: lab.clients
        ).run(timeout: .seconds(20)).check()
      }
      #expect(lab.store.bound.count == 1)
      #expect(await lab.exchanges.holds { lab.exchanges.steps.filter { $0 == "REQUEST>ACK" }.count == 3 })
    }
  }

  @Test("each packet is answered once, also where the interface has several addresses")
  func oneAnswer() async throws {
    try await DHCPLab.with { lab in
      let card = lab.card
      let interface = lab.server.configuration.interface
      // No relay agent's or client's of other tests: what came from an address of our own would be dropped.
      for other in ["10.77.0.254/24", "192.0.2.1/24"] {
        try await Command("ip", "address", "add", other, "dev", interface).run().check()
      }
      let lease = try await lab.clients.runBlocking {
        try DHCPClient.acquire(on: "eth0", hardwareAddress: card, vendorClass: "perseid-stage1", within: 10)
      }
      #expect(await lab.exchanges.holds { lab.exchanges.steps == ["DISCOVER>OFFER", "REQUEST>ACK"] })
      try await lab.clients.ip("address", "add", "\(lease.address)/24", "dev", "eth0")
      _ = try await lab.clients.runBlocking {
        try DHCPClient.renew(lease, on: "eth0", hardwareAddress: card, vendorClass: "perseid-node", within: 10)
      }
      // On a busy host a client may ask again.
      #expect(await lab.exchanges.holds { lab.exchanges.steps.filter { $0 == "REQUEST>ACK" }.count >= 2 })
      #expect(lab.server.statistics.received == lab.exchanges.all.count)
    }
  }

  @Test("a DISCOVER with a priority tag is answered; one that is tagged for another VLAN is not, and is counted")
  func tagged() async throws {
    try await DHCPLab.with { lab in
      try await lab.clients.runBlocking {
        var message = DHCPMessage(operation: .request, hardware: HardwareAddress(lab.card), transaction: 6)
        message.options.set(.messageType, [DHCPMessageType.discover.rawValue])
        var frame = [UInt8](repeating: 0, count: UDPFrame.headerLength) + message.serialized()
        UDPFrame(
          sourceCard: lab.card, destinationCard: .broadcast, source: .any, destination: .broadcast,
          sourcePort: DHCPPort.client, destinationPort: DHCPPort.server
        ).writeHeaders(into: &frame)
        let sender = try FrameSender(interface: "eth0")
        for tag in [[0x00, 0x05], [0xE0, 0x00]] as [[UInt8]] {
          #expect(sender.send(Array(frame[..<12]) + [0x81, 0x00] + tag + frame[12...]))
        }
      }
      #expect(await lab.exchanges.contains("DISCOVER>OFFER"))
      #expect(await lab.exchanges.holds { lab.exchanges.steps == ["DISCOVER>OFFER"] })
      #expect(lab.server.statistics.ignored == ["frame-other-vlan": 1])
    }
  }

  @Test("another server's replies are reported with address and card, once for many, and ours are not")
  func otherServer() async throws {
    try await DHCPLab.with { lab in
      let rogue = MACAddress(rawValue: 0x0200_0000_0066)
      try await lab.clients.runBlocking {
        var message = DHCPMessage(
          operation: .reply, hardware: HardwareAddress(lab.card), transaction: 5,
          yourAddress: IPv4Address(192, 168, 1, 50))
        message.options.set(.messageType, [DHCPMessageType.offer.rawValue])
        message.options.set(.serverIdentifier, [192, 168, 1, 1])
        var frame = [UInt8](repeating: 0, count: UDPFrame.headerLength) + message.serialized()
        UDPFrame(
          sourceCard: rogue, destinationCard: .broadcast, source: IPv4Address(192, 168, 1, 1),
          destination: .broadcast, sourcePort: DHCPPort.server, destinationPort: DHCPPort.client
        ).writeHeaders(into: &frame)
        let sender = try FrameSender(interface: "eth0")
        for _ in 0..<3 { #expect(sender.send(frame)) }
      }
      let card = lab.card
      _ = try await lab.clients.runBlocking {
        try DHCPClient.acquire(on: "eth0", hardwareAddress: card, vendorClass: "perseid-stage1", within: 10)
      }
      #expect(await lab.exchanges.holds { lab.server.statistics.otherServers == 3 })
      #expect(lab.exchanges.otherServers == [OtherServer(address: IPv4Address(192, 168, 1, 1), card: rogue)])
    }
  }

  @Test("a server on an interface that does not exist says so and what to do")
  func missingInterface() async throws {
    let subnet = try #require(IPv4Subnet(DHCPLab.subnet))
    let server = DHCPServer(
      configuration: DHCPServerConfiguration(
        interface: "nosuch0", serverAddress: DHCPLab.serverAddress, network: .init(subnet: subnet, pools: [])),
      policy: TestPolicy(), store: MemoryLeaseStore(), logger: Logger(label: "dhcp"))
    await #expect(throws: DHCPServerError.noSuchInterface("nosuch0")) { try await server.run() }
    #expect("\(DHCPServerError.noSuchInterface("nosuch0"))".contains("network.interface"))
  }

  @Test("a second server on the same interface is told that the port is in use, and what to do")
  func portInUse() async throws {
    try await DHCPLab.with { lab in
      let configuration = lab.server.configuration
      let second = DHCPServer(
        configuration: configuration, policy: TestPolicy(), store: MemoryLeaseStore(), logger: Logger(label: "dhcp"))
      await #expect(throws: DHCPServerError.portInUse(port: 67, interface: configuration.interface)) {
        try await second.run()
      }
    }
  }
}

extension NetworkNamespace {
  /// Runs blocking code on a thread of its own inside this namespace.
  func runBlocking<Result: Sendable>(
    _ body: @escaping @Sendable () throws -> Result
  ) async throws -> Result {
    let path = "/run/netns/\(name)"
    return try await withCheckedThrowingContinuation { continuation in
      Thread.detachNewThread {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        // The C library has it, but Swift does not see what hides behind _GNU_SOURCE.
        typealias SetNS = @convention(c) (CInt, CInt) -> CInt
        let setns = unsafeBitCast(dlsym(nil, "setns"), to: SetNS.self)
        let networkNamespace: CInt = 0x4000_0000
        guard descriptor >= 0, setns(descriptor, networkNamespace) == 0 else {
          continuation.resume(throwing: LabError("cannot enter \(path): \(String(cString: strerror(errno)))"))
          return
        }
        close(descriptor)
        continuation.resume(with: Swift.Result { try body() })
      }
    }
  }
}
