import Foundation
import Lab
import Testing

/// What administrators do with capsules, as commands beside a running appliance.
@Suite(.enabled(if: NetworkNamespace.isAvailable, Comment(rawValue: NetworkNamespace.unavailable)))
struct CapsuleVerbTests {
  private struct Generation: Decodable {
    var generation: Int
    var digest: String
    var isCurrent: Bool
  }

  private struct Verified: Decodable {
    var ok: Bool
    var entries: Int
    var problems: [String]
  }

  /// Has a pipe open as long as it lives.
  private static let staying = "exec 9>/pipe; echo inside >&9; exec /bin/busybox sleep 1000"

  @Test(.enabled(if: geteuid() == 0, "owners of files take root"), .timeLimit(.minutes(20)))
  func `every verb of a capsule's life does what it says while the appliance runs`() async throws {
    try await Site.with { site in
      let state = site.directory + "/state"
      let appliance = try Appliance(site, state: state)
      try await appliance.start()
      func vnfs(_ arguments: String...) async throws -> String {
        try await appliance.command(["vnfs"] + arguments).run(timeout: .seconds(300)).check().output
      }
      func refused(_ arguments: String..., because words: String...) async throws {
        let ended = try await appliance.command(["vnfs"] + arguments).run(timeout: .seconds(300))
        #expect(!ended.succeeded && words.allSatisfy(ended.errors.contains), "\(ended.output)\(ended.errors)")
      }
      func history(_ name: String) async throws -> [Generation] {
        try await appliance.json([Generation].self, "vnfs", "history", name)
      }
      func blobs() throws -> Set<String> {
        Set(try FileManager.default.contentsOfDirectory(atPath: state + "/blobs/sha256"))
      }
      let tree = state + "/mounts/acme"
      func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }
      _ = try await vnfs("import", try Cache.initTree("busybox"), "--name", "acme")

      // Closed: nothing is kept.
      #expect(try await vnfs("mount", "acme").contains(tree))
      try Data("thrown away\n".utf8).write(to: URL(fileURLWithPath: tree + "/etc/closed"))
      _ = try await vnfs("close", "acme", "--yes")
      #expect(!exists(tree))
      #expect(try await history("acme").count == 1)

      // Unmounted: the next generation has the change.
      _ = try await vnfs("mount", "acme")
      // What runs in the shell hears of Ctrl-C, which perseid itself leaves to it.
      let status = try await vnfs("shell", "acme", "--", "/bin/busybox", "cat", "/proc/self/status")
      let ignored = status.split(separator: "\n").first { $0.hasPrefix("SigIgn:") }?.split(separator: "\t").last
      let signals = try #require(ignored.flatMap { UInt64($0, radix: 16) })
      #expect(signals & (1 << (SIGINT - 1) | 1 << (SIGQUIT - 1)) == 0, "\(signals)")
      #expect(!exists(tree + "/etc/closed"))
      // Nothing in the room outlives a perseid that is killed: what it had open comes to its end.
      try await Command("mkfifo", tree + "/pipe").run().check()
      let reader = try RunningProcess(Command("cat", tree + "/pipe"))
      let shell = try RunningProcess(
        appliance.command(["vnfs", "shell", "acme", "--", "/bin/busybox", "sh", "-c", Self.staying]))
      _ = try await reader.log.line(containing: "inside", within: .seconds(60))
      shell.signal(SIGKILL)
      #expect(try await shell.exit(within: .seconds(60)) == .killed(signal: SIGKILL))
      #expect(try await reader.exit(within: .seconds(60)) == .exited(0))
      try FileManager.default.removeItem(atPath: tree + "/pipe")
      try Data("kept\n".utf8).write(to: URL(fileURLWithPath: tree + "/etc/changed"))
      let hook = tree + "/etc/perseid/hooks/configure"
      try FileManager.default.createDirectory(
        atPath: tree + "/etc/perseid/hooks", withIntermediateDirectories: true)
      try Data("#!/bin/sh\necho $VNFS >/etc/configured\n".utf8).write(to: URL(fileURLWithPath: hook))
      try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: hook)
      _ = try await vnfs("umount", "acme")
      #expect(!exists(tree))
      var generations = try await history("acme")
      #expect(generations.map(\.generation) == [1, 2] && generations.map(\.isCurrent) == [false, true])
      #expect(generations.first?.digest != generations.last?.digest)
      let difference = try await vnfs("diff", "acme:1", "acme:2")
      #expect(difference.contains("etc/changed"))
      // Nor does what it was lent come into the next generation.
      #expect(!difference.contains("resolv.conf"))
      #expect(try await vnfs("diff", "acme:2", "acme:2").contains("No file and no package is different"))

      _ = try await vnfs("rollback", "acme", "--yes")
      #expect(try await history("acme").map(\.isCurrent) == [true, false])

      _ = try await vnfs("clone", "acme:2", "other")
      #expect(try await history("other").map(\.digest) == [generations[1].digest])

      // Of the generation that boots, which is the first one: nothing is different.
      _ = try await vnfs("rebuild", "acme")
      #expect(try await history("acme").count == 2)
      // The other one's hook does something.
      _ = try await vnfs("rebuild", "acme:2")
      generations = try await history("acme")
      #expect(generations.map(\.generation) == [1, 2, 3] && generations.last?.isCurrent == true)
      #expect(try await vnfs("diff", "acme:2", "acme:3").contains("etc/configured"))

      // Ctrl-C ends a hook that would not end, and nothing is left mounted.
      _ = try await vnfs("mount", "acme")
      try Data("#!/bin/sh\necho the hook has begun >&2\nsleep 100000\n".utf8)
        .write(to: URL(fileURLWithPath: tree + "/etc/perseid/hooks/mount"))
      try FileManager.default.setAttributes(
        [.posixPermissions: 0o755], ofItemAtPath: tree + "/etc/perseid/hooks/mount")
      _ = try await vnfs("umount", "acme")
      let mounting = try RunningProcess(appliance.command("vnfs", "mount", "acme"))
      try await mounting.log.line(containing: "the hook has begun", within: .seconds(300))
      #expect(exists(tree))
      mounting.signal(SIGINT)
      let ended = try await mounting.exit(within: .seconds(300))
      #expect(ended != .exited(0))
      #expect(!exists(tree))
      _ = try await vnfs("rollback", "acme", "3", "--yes")

      // Never while a node needs it, and they are named.
      try await appliance.run("node", "add", "52:54:00:00:00:01", "n0000")
      try await appliance.run("node", "set", "vnfs", "other", "n0000")
      try await refused("delete", "other", "--yes", because: "n0000")
      #expect(try await history("other").count == 1)
      try await appliance.run("node", "set", "vnfs", "acme", "n0000")
      _ = try await vnfs("delete", "other", "--yes")
      try await refused("show", "other", because: "other")

      let stray = String(repeating: "0", count: 64)
      try Data("nobody's".utf8).write(to: URL(fileURLWithPath: "\(state)/blobs/sha256/\(stray)"))
      let before = try blobs()
      #expect(try await vnfs("gc").contains("Removed "))
      let after = try blobs()
      #expect(before.contains(stray) && !after.contains(stray) && !after.isEmpty)

      let whole = try await appliance.json(Verified.self, "vnfs", "verify", "acme:2")
      #expect(whole.ok && whole.entries > 0 && whole.problems.isEmpty)
      let manifest = "\(state)/blobs/sha256/" + generations[1].digest.dropFirst("sha256:".count)
      let largest = try #require(
        try after.max {
          try size("\(state)/blobs/sha256/\($0)") < size("\(state)/blobs/sha256/\($1)")
        })
      #expect(exists(manifest))
      let file = try FileHandle(forUpdating: URL(fileURLWithPath: "\(state)/blobs/sha256/\(largest)"))
      try file.seek(toOffset: 4096)
      let byte = try #require(try file.read(upToCount: 1)?.first)
      try file.seek(toOffset: 4096)
      try file.write(contentsOf: Data([~byte]))
      try file.close()
      // It is one's, or that of several which share it.
      var damaged: [String] = []
      for number in 1...4 {
        let ended = try await appliance.command(["vnfs", "verify", "acme:\(number)"]).run(timeout: .seconds(300))
        if !ended.succeeded { damaged.append(ended.errors) }
      }
      #expect(!damaged.isEmpty && damaged.allSatisfy { $0.contains(largest.prefix(12)) }, "\(damaged)")
      await appliance.stop()
    }
  }

  private func size(_ path: String) throws -> Int {
    try #require(try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int)
  }
}
