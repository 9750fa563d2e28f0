import Foundation
import Lab
import NetworkTypes
import Testing

@Suite("Nodes of one appliance", .enabled(if: NetworkNamespace.isAvailable, "needs private namespaces"))
struct SeveralNodesTests {
  /// Modes, owners, times, sizes and contents of a good part of a tree; a directory's size is its file system's affair.
  private static let contents =
    "{ find usr/bin usr/sbin usr/share/doc -type d -printf '%p %y %m %U %G %T@\\n' "
    + "-o -printf '%p %y %m %U %G %s %T@ %l\\n' | LC_ALL=C sort; "
    + "find usr/bin usr/sbin -type f -exec sha256sum {} + | LC_ALL=C sort; }"

  @Test(
    "boot two capsules of different Debian releases side by side, one from memory and one from an image in memory",
    .timeLimit(.minutes(40)))
  func twoReleases() async throws {
    try await withTurns(2) {
      try await withAppliance(suites: ["bookworm", "trixie"]) { site, appliance in
        let first = Machine.Configuration(number: 1, processors: 1)
        let second = Machine.Configuration(number: 2, processors: 1)
        try await appliance.run("node", "add", second.mac.description, "newer", "--vnfs", "debian-13")
        try await appliance.run("node", "set", "root", "overlay", "newer", "--yes")
        #expect(try await appliance.run("node", "why", "newer").contains(/root +overlay +node/))
        let scripts = appliance.state + "/nodescripts/ready/node/newer"
        try FileManager.default.createDirectory(atPath: scripts, withIntermediateDirectories: true)
        try """
        awk '$2 == "/" { print "root is", $3 }' /proc/mounts
        awk '$3 == "erofs" || $2 ~ "^/root-" { print "seen:", $0 }' /proc/mounts
        echo written > /usr/written && cat /usr/written && rm /usr/written
        cd / && \(Self.contents) | sha256sum
        """.write(toFile: scripts + "/80-look", atomically: true, encoding: .utf8)
        try await Command(
          "sh", "-euc", "mkdir $0; tar --numeric-owner -C $0 -xpf $1", site.directory + "/newer",
          try Cache.debianTree("trixie")
        ).run(timeout: .seconds(300)).check()
        let expected = try await Command("sh", "-euc", "cd $0; \(Self.contents) | sha256sum", site.directory + "/newer")
          .run(timeout: .seconds(120)).check().output
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
        let look = try await ModuleBootTests().output(of: "80-look", on: "newer", appliance)
        #expect(look == "root is overlay\nwritten\n\(expected)")
        let blobs = try await appliance.timeline("newer").filter { $0.source == "http" }.map(\.event)
        #expect(blobs.contains("root image") && !blobs.contains("root"))
        await older.powerOff()
        await newer.powerOff()
      }
    }
  }
}
