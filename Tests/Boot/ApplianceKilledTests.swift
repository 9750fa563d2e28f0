import Lab
import NetworkTypes
import Synchronization
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
        let sent = Sent()
        try await watch.log.line("60 MB sent to the node", within: bootBound) { sent.total(with: $0) > 60_000_000 }
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
}

/// Bytes sent in every connection that tcpdump tells of.
private final class Sent: Sendable {
  private let connections = Mutex<[String: Int]>([:])

  /// tcpdump counts from each connection's first packet, which itself has no range.
  /// - Parameter line: `02:34:40.2 IP 10.77.0.1.9870 > 10.77.0.100.40000: Flags [.], seq 1:1449, ...`. There are a
  ///   hundred thousand of them: no regular expression is quick enough.
  func total(with line: String) -> Int {
    let words = line.utf8.split(separator: UInt8(ascii: " "), maxSplits: 9)
    return connections.withLock { connections in
      if words.count > 8, String(words[7]) == "seq" {
        let ends = words[8].split(separator: UInt8(ascii: ":"))
        let end = ends.count == 2 ? Int(String(ends[1].dropLast()) ?? "") ?? 0 : 0
        let name = String(words[4]) ?? ""
        connections[name] = max(connections[name] ?? 0, end)
      }
      return connections.values.reduce(0, +)
    }
  }
}
