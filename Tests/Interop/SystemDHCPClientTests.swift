import DHCP
import Foundation
import Lab
import NetworkTypes
import StateClient
import Testing

/// Whether a node's own DHCP client is seen, so that the lease is left to it.
@Suite(.enabled(if: NetworkNamespace.isAvailable, Comment(rawValue: NetworkNamespace.unavailable)), .serialized)
struct SystemDHCPClientTests {
  private static let udhcpcScript = "#!/bin/sh\n[ \"$1\" != bound ] || ip address replace $ip/24 dev $interface\n"

  @Test(
    "A client that holds the lease is seen while it runs, and not before or afterwards",
    arguments: ["dhclient", "dhcpcd", "udhcpc"])
  func isSeen(client: String) async throws {
    try await DHCPLab.with { lab in
      let directory = try ScratchDirectory.make()
      defer { ScratchDirectory.remove(directory) }
      let script = directory + "/script"
      try Self.udhcpcScript.write(toFile: script, atomically: true, encoding: .utf8)
      try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: script)
      let run =
        switch client {
        case "dhclient":
          "exec dhclient -4 -d -pf \(directory)/pid -lf \(directory)/leases -sf /bin/true eth0"
        case "dhcpcd":
          // Its files, by which it finds others of its kind.
          "for d in /run /var/lib/dhcpcd; do mount -t tmpfs none $d; done; exec dhcpcd -4 -f /dev/null -c /bin/true --noarp -B eth0"
        default: "exec busybox udhcpc -f -i eth0 -s \(script)"
        }
      // Its network is what is looked at.
      let node = try RunningProcess(lab.clients.command("sleep", "infinity"))
      defer { node.signal(9) }
      #expect(SystemDHCPClient.find(on: "eth0", address: IPv4Address(10, 77, 0, 100), process: "\(node.pid)") == nil)
      let running = try RunningProcess(lab.clients.command("unshare", "--mount", "sh", "-ec", run))
      #expect(await lab.exchanges.contains("REQUEST>ACK"))
      let address = try #require(lab.store.bound.first?.address)
      let seen = await changes(lab, to: true, address, node.pid)
      #expect(seen, "\(client): \(running.log.tail(20))")
      await running.stop()
      #expect(await changes(lab, to: false, address, node.pid), "\(client) has ended")
    }
  }

  @Test("dhclient on another interface is none of this one's")
  func other() async throws {
    try await DHCPLab.with { lab in
      try await lab.clients.ip("link", "add", "eth1", "type", "veth", "peer", "name", "eth1p")
      for name in ["eth1", "eth1p"] { try await lab.clients.ip("link", "set", name, "up") }
      let directory = try ScratchDirectory.make()
      defer { ScratchDirectory.remove(directory) }
      let running = try RunningProcess(
        lab.clients.command(
          "dhclient", "-4", "-d", "-pf", directory + "/pid", "-lf", directory + "/leases", "-sf", "/bin/true", "eth1"))
      try await running.log.line(containing: "DHCPDISCOVER on eth1", within: .seconds(60))
      let node = try RunningProcess(lab.clients.command("sleep", "infinity"))
      defer { node.signal(9) }
      let address = IPv4Address(10, 77, 0, 100)
      #expect(await changes(lab, to: true, address, node.pid, on: "eth1"))
      #expect(SystemDHCPClient.find(on: "eth0", address: address, process: "\(node.pid)") == nil)
      await running.stop()
    }
  }

  /// Asks until the answer is this one: sockets open and close a moment after what can be waited for.
  private func changes(
    _ lab: DHCPLab, to wanted: Bool, _ address: IPv4Address, _ pid: Int32, on interface: String = "eth0"
  ) async -> Bool {
    let deadline = ContinuousClock.now + .seconds(60)
    while ContinuousClock.now < deadline {
      if (SystemDHCPClient.find(on: interface, address: address, process: "\(pid)") != nil) == wanted { return true }
      _ = try? await lab.clients.ip("address", "show", interface)
    }
    return false
  }
}
