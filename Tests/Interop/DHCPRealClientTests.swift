import DHCPWire
import Foundation
import Glibc
import Lab
import NetworkTypes
import StateClient
import Testing

@testable import DHCP
@testable import DHCPClient

/// Clients that other people wrote, beyond busybox and ISC: what each of them alone does.
@Suite(.enabled(if: NetworkNamespace.isAvailable, Comment(rawValue: NetworkNamespace.unavailable)), .serialized)
struct DHCPRealClientTests {
  /// dhcpcd keeps its leases in one directory of the system: each of its runs here gets its own.
  private struct DHCPCD {
    let lab: DHCPLab
    let directory = FileManager.default.temporaryDirectory.appending(path: "dhcpcd-\(UUID())").path

    func command(_ options: String) -> Command {
      let hook = "exec >>\(directory)/log; echo reason=$reason; env | grep '^new_'; exit 0"
      let run = """
        mkdir -p \(directory)/lib
        printf '#!/bin/sh\\n%s\\n' "\(hook.replacing("$", with: "\\$"))" >\(directory)/hook
        chmod 755 \(directory)/hook
        mount --bind \(directory)/lib /var/lib/dhcpcd
        exec dhcpcd -4 -f /dev/null -c \(directory)/hook --nobackground --debug \(options) eth0
        """
      return Command(["unshare", "--mount", "sh", "-ec", run], namespace: lab.clients)
    }

    var log: String { (try? String(contentsOfFile: directory + "/log", encoding: .utf8)) ?? "" }
  }

  private func withDHCPCD(_ lab: DHCPLab, _ body: (DHCPCD) async throws -> Void) async throws {
    let client = DHCPCD(lab: lab)
    defer { try? FileManager.default.removeItem(atPath: client.directory) }
    try await body(client)
  }

  @Test("dhcpcd gets a lease with MTU, search domains and routes, and asks for the same address when it starts again")
  func dhcpcd() async throws {
    try await DHCPLab.with { lab in
      try await withDHCPCD(lab) { client in
        // With its own RFC 4361 client identifier, and without conflict detection, which takes it 5 seconds.
        let command = client.command(
          "--noarp --oneshot --duid -o interface_mtu,domain_search,classless_static_routes")
        let first = try await command.run(timeout: .seconds(60))
        #expect(first.status == .exited(0), "\(first.output)\(first.errors)")
        let bound = try #require(lab.store.bound.first, "\(first.errors)")
        #expect(bound.holder == .hardware(lab.card))
        for line in [
          "new_ip_address=\(bound.address)", "new_interface_mtu=1400", "new_domain_search=cluster.test example.test",
          "new_classless_static_routes=192.168.128.0/17 10.77.0.7 0.0.0.0/0 10.77.0.1",
          "new_dhcp_server_identifier=10.77.0.1",
        ] {
          #expect(client.log.contains(line), "\(line) is missing in \(client.log)")
        }
        try await lab.clients.ip("address", "flush", "dev", "eth0")
        let before = lab.exchanges.steps.count
        let again = try await command.run(timeout: .seconds(60))
        #expect(again.status == .exited(0), "\(again.output)\(again.errors)")
        // INIT-REBOOT: a REQUEST at once, without DISCOVER.
        #expect(await lab.exchanges.holds { lab.exchanges.steps.count > before })
        #expect(lab.exchanges.steps.dropFirst(before).first == "REQUEST>ACK")
        #expect(lab.exchanges.all.last?.reason.contains("still has this address") == true)
        #expect(lab.store.bound.map(\.address) == [bound.address])
      }
    }
  }

  @Test("dhcpcd that has its address from elsewhere is informed of the rest, without a lease")
  func inform() async throws {
    try await DHCPLab.with { lab in
      try await lab.clients.ip("address", "add", "10.77.0.42/24", "dev", "eth0")
      try await withDHCPCD(lab) { client in
        let result = try await client.command("--noarp --oneshot -o domain_name_servers --inform 10.77.0.42/24").run(
          timeout: .seconds(60))
        #expect(result.status == .exited(0), "\(result.output)\(result.errors)")
        #expect(await lab.exchanges.contains("INFORM>ACK"))
        #expect(client.log.contains("reason=INFORM"))
        #expect(client.log.contains("new_domain_name_servers=10.77.0.1"))
        #expect(lab.store.bound.isEmpty)
      }
    }
  }

  @Test("udhcpc that finds a stranger at its address declines it, and gets another one")
  func decline() async throws {
    try await DHCPLab.with { lab in
      // The stranger: this host answers ARP for the address that is given first.
      let stranger = IPv4Address(10, 77, 0, 100)
      try await Command("ip", "address", "add", "\(stranger)/32", "dev", lab.server.configuration.interface).run()
        .check()
      let result = try await lab.clients.command(
        "busybox", "udhcpc", "-f", "-n", "-q", "-t", "5", "-T", "1", "-A", "1", "-a500", "-i", "eth0", "-s", "/bin/true"
      ).run(timeout: .seconds(60))
      #expect(result.status == .exited(0), "\(result.output)\(result.errors)")
      #expect(await lab.exchanges.contains("DECLINE>"))
      #expect(lab.store.lease(at: stranger)?.state == .declined)
      let bound = try #require(lab.store.bound.first)
      #expect(lab.store.bound.count == 1 && bound.address != stranger)
      #expect(await lab.exchanges.holds { lab.exchanges.steps.last == "REQUEST>ACK" })
    }
  }

  @Test("udhcpc whose unicast does not come through is given more time by broadcast: REBINDING")
  func rebinding() async throws {
    try await DHCPLab.with(leaseSeconds: 20) { lab in
      let rules = """
        table ip t {
          chain out {
            type filter hook output priority 0;
            ip daddr \(DHCPLab.serverAddress) udp dport 67 counter drop
          }
        }
        """
      try await lab.clients.command("nft", "-f", "-").run(input: rules).check()
      let script = FileManager.default.temporaryDirectory.appending(path: "udhcpc-\(UUID())").path
      defer { unlink(script) }
      try await DHCPInteropTests.makeProgram(
        script, "#!/bin/sh\necho event=$1\n[ $1 != bound ] || ip address add $ip/$mask dev $interface\n")
      let client = try RunningProcess(
        lab.clients.command("busybox", "udhcpc", "-f", "-t", "5", "-T", "1", "-i", "eth0", "-s", script))
      _ = try await client.log.line(containing: "event=bound", within: .seconds(30))
      _ = try await client.log.line(containing: "event=renew", within: .seconds(60))
      let renewals = lab.exchanges.all.filter { $0.received == "REQUEST" }.dropFirst()
      #expect(!renewals.isEmpty && renewals.allSatisfy { $0.sent == "ACK" && $0.reason.contains("renewed") })
      #expect(lab.store.bound.count == 1)
      await client.stop()
    }
  }

  @Test("dhcping is answered for an address on lease and for INFORM, and told no for an address of nowhere")
  func dhcping() async throws {
    try await DHCPLab.with { lab in
      let card = lab.card
      let lease = try await lab.clients.runBlocking {
        try DHCPClient.acquire(on: "eth0", hardwareAddress: card, vendorClass: "perseid-stage1", within: 30)
      }
      try await lab.clients.ip("address", "add", "\(lease.address)/24", "dev", "eth0")
      func dhcping(_ address: String, _ options: String...) async throws -> CommandResult {
        try await Command(
          ["dhcping", "-v", "-t", "20", "-c", address, "-h", "\(card)", "-s", "\(DHCPLab.serverAddress)"] + options,
          namespace: lab.clients
        ).run(timeout: .seconds(60))
      }
      let informed = try await dhcping("\(lease.address)", "-i")
      #expect(informed.output.contains("Got answer from: 10.77.0.1"), "\(informed.output)\(informed.errors)")
      #expect(await lab.exchanges.contains("INFORM>ACK"))
      let known = try await dhcping("\(lease.address)")
      #expect(known.status == .exited(0) && known.output.contains("Got answer from: 10.77.0.1"), "\(known.output)")
      // It gives back at once what it was given.
      #expect(await lab.exchanges.contains("RELEASE>"))
      #expect(lab.store.lease(at: lease.address)?.state == .released)
    }
  }

  @Test("a BOOTP client gets the address that is set aside for its card, and no lease; without one it gets nothing")
  func bootp() async throws {
    try await DHCPLab.with(policy: TestPolicy(bootFile: "undionly.kpxe")) { lab in
      try await lab.clients.ip("route", "add", "default", "dev", "eth0")
      let result = try await lab.clients.command(
        "bootpc", "--dev", "eth0", "--timeoutwait", "3", "--returniffail"
      ).run(timeout: .seconds(60))
      #expect(result.status != .exited(0))
      #expect(await lab.exchanges.holds { (lab.server.statistics.ignored["bootp-without-reservation"] ?? 0) > 0 })
      #expect(lab.store.bound.isEmpty)
    }
    let card = MACAddress(rawValue: 0x0200_0000_0B07)
    let reserved = IPv4Address(10, 77, 0, 50)
    try await DHCPLab.with(policy: TestPolicy(reservations: [card: reserved], bootFile: "undionly.kpxe")) { lab in
      try await lab.clients.ip("link", "set", "eth0", "address", "\(card)")
      // It sends through the kernel, which wants a way to everyone.
      try await lab.clients.ip("route", "add", "default", "dev", "eth0")
      let result = try await lab.clients.command(
        "bootpc", "--dev", "eth0", "--serverbcast", "--timeoutwait", "20", "--returniffail"
      ).run(timeout: .seconds(60))
      #expect(result.status == .exited(0), "\(result.output)\(result.errors)")
      for word in ["IPADDR='\(reserved)'", "NETMASK='255.255.255.0'", "BOOTFILE='undionly.kpxe'"] {
        #expect(result.output.contains(word), "\(word) is missing in \(result.output)\(result.errors)")
      }
      #expect(await lab.exchanges.contains("BOOTREQUEST>BOOTREPLY"))
      #expect(lab.store.bound.isEmpty)
    }
  }

  @Test("perfdhcp: a hundred clients' exchanges complete, renewed and released ones too, and no address twice")
  func perfdhcp() async throws {
    try await DHCPLab.with(pools: ["10.77.0.100-10.77.0.149", "10.77.0.160-10.77.0.249"]) { lab in
      // It is a relay agent to the server, at its own address.
      try await lab.clients.ip("address", "add", "10.77.0.2/24", "dev", "eth0")
      let result = try await lab.clients.command(
        "perfdhcp", "-4", "-u", "-r", "100", "-R", "100", "-p", "4", "-f", "20", "-F", "10", "-d", "5", "-l",
        "10.77.0.2",
        "\(DHCPLab.serverAddress)"
      ).run(timeout: .seconds(60))
      // 3: not every exchange was over when it ended.
      #expect([.exited(0), .exited(3)].contains(result.status), "\(result.output)\(result.errors)")
      #expect(result.output.contains("non unique addresses: 0"), "\(result.output)")
      let steps = lab.exchanges.steps
      for step in ["DISCOVER>OFFER", "REQUEST>ACK", "RELEASE>"] { #expect(steps.contains(step), "\(result.output)") }
      #expect(lab.exchanges.all.contains { $0.reason.contains("renewed") }, "\(result.output)")
      #expect(!steps.contains("REQUEST>NAK"))
      #expect(Set(lab.store.bound.map(\.holder)).count == lab.store.bound.count)
      #expect(lab.store.bound.allSatisfy { $0.address.bytes[3] < 150 || $0.address.bytes[3] >= 160 })
    }
  }

  @Test(
    "an InfiniBand card without hardware address is known by its client identifier: one lease, answered to everyone")
  func infiniBand() async throws {
    try await DHCPLab.with { lab in
      // RFC 4390: htype 32, hlen 0, the broadcast bit, and a client identifier.
      let identifier: [UInt8] =
        [0xFF, 0, 0, 0, 0, 0, 2, 0, 0, 2, 0xC9, 0] + [0xF4, 0x52, 0x14, 3, 0, 0x12, 0x34, 0x56]
      func message(_ type: DHCPMessageType, _ change: (inout DHCPMessage) -> Void = { _ in }) -> DHCPMessage {
        var message = DHCPMessage(
          operation: .request, hardware: HardwareAddress(type: 32, length: 0, upper: 0, lower: 0), transaction: 0x1B,
          flags: 0x8000)
        message.options.set(.messageType, [type.rawValue])
        message.options.set(.clientIdentifier, identifier)
        change(&message)
        return message
      }
      let offer = try await lab.exchange(message(.discover))
      #expect(offer.messageType == .offer && offer.hardware.type == 32 && offer.hardware.length == 0)
      #expect(offer.clientIdentifier.map(Array.init) == identifier)
      let acknowledgement = try await lab.exchange(
        message(.request) {
          $0.options.set(.requestedAddress, offer.yourAddress.bytes)
          $0.options.set(.serverIdentifier, DHCPLab.serverAddress.bytes)
        })
      #expect(acknowledgement.messageType == .acknowledge)
      #expect(lab.store.lease(at: offer.yourAddress)?.holder == .identifier(identifier))
      #expect(try await lab.exchange(message(.discover)).yourAddress == offer.yourAddress)
    }
  }

  @Test("what our own client is given is set on the card: address, largest packet, routes")
  func ourClientSets() async throws {
    try await DHCPLab.with { lab in
      let card = lab.card
      let complaints = try await lab.clients.runBlocking {
        let lease = try DHCPClient.acquire(
          on: "eth0", hardwareAddress: card, vendorClass: "perseid-stage1", within: 30)
        var complaints: [String] = []
        // Twice: a step of stage 1 may be done again.
        for _ in 0..<2 { try KernelInterfaces().set(lease, on: "eth0") { complaints.append($0) } }
        // What the kernel does not take is told, and does not stop a boot.
        var wrong = lease
        wrong.routes = [try #require(ClasslessRoute("198.51.100.0/24 via 203.0.113.9"))]
        try KernelInterfaces().set(wrong, on: "eth0") { complaints.append($0) }
        return complaints
      }
      #expect(complaints.count == 1 && complaints[0].contains("198.51.100.0/24 through 203.0.113.9"), "\(complaints)")
      let address = try #require(lab.store.bound.first?.address)
      #expect(try await lab.clients.ip("-4", "address", "show", "dev", "eth0").contains("\(address)/24"))
      #expect(try await lab.clients.ip("link", "show", "dev", "eth0").contains("mtu 1400"))
      let routes = try await lab.clients.ip("route", "show")
      #expect(routes.contains("default via 10.77.0.1 dev eth0"), "\(routes)")
      #expect(routes.contains("192.168.128.0/17 via 10.77.0.7 dev eth0"), "\(routes)")
    }
  }
}

extension DHCPLab {
  /// Broadcasts a message from the clients' card, and waits for the reply to it.
  func exchange(_ message: DHCPMessage) async throws -> DHCPMessage {
    let card = card
    return try await clients.runBlocking {
      let capture = try CaptureHandle(interface: "eth0", filter: "udp dst port 68", bufferBytes: 1 << 20)
      var frame = [UInt8](repeating: 0, count: UDPFrame.headerLength) + message.serialized()
      UDPFrame(
        sourceCard: card, destinationCard: .broadcast, source: .any, destination: .broadcast,
        sourcePort: DHCPPort.client, destinationPort: DHCPPort.server
      ).writeHeaders(into: &frame)
      guard capture.inject(frame) else { throw LabError("the cable took no frame") }
      var answer: DHCPMessage?
      for _ in 0..<30 where answer == nil {
        _ = capture.read(waiting: 1000) { bytes in
          guard answer == nil, let (_, payload) = try? UDPFrame.parse(bytes),
            let reply = try? DHCPMessage(parsing: bytes.extracting(payload)), reply.transaction == message.transaction
          else { return }
          answer = reply
        }
      }
      guard let answer else { throw LabError("no answer within thirty seconds") }
      return answer
    }
  }
}
