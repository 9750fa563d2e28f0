import Foundation
import Lab
import Testing

@Suite("The appliance refuses", .enabled(if: NetworkNamespace.isAvailable, "needs private namespaces"))
struct RefusalTests {
  /// Runs `serve` with a configuration, and gives back what it said when it had ended by itself.
  private func serve(_ yaml: (Site) -> String, before: (Site) async throws -> RunningProcess? = { _ in nil })
    async throws -> CommandResult
  {
    try await Site.with { site in
      let other = try await before(site)
      let appliance = try Appliance(site, state: site.directory + "/state")
      try yaml(site).write(toFile: appliance.configuration, atomically: true, encoding: .utf8)
      let result = try await appliance.command("serve").run(timeout: .seconds(30))
      #expect(!result.timedOut, "it started: \(result.errors)")
      #expect(result.exitCode != 0)
      let left = try FileManager.default.subpathsOfDirectory(atPath: appliance.state)
      #expect(!left.contains("control.sock"))
      #expect(!left.contains { $0.hasPrefix("tmp/") })
      await other?.stop()
      return result
    }
  }

  private func settings(_ site: Site, _ change: (inout Appliance.Settings) -> Void = { _ in }) -> String {
    var settings = Appliance.Settings()
    change(&settings)
    return settings.yaml(state: site.directory + "/state")
  }

  @Test("an interface that does not exist, by name", .timeLimit(.minutes(2)))
  func missingInterface() async throws {
    let result = try await serve { site in settings(site) { $0.interface = "eth9" } }
    #expect(result.errors.contains("eth9"))
  }

  @Test("an interface without an address", .timeLimit(.minutes(2)))
  func noAddress() async throws {
    let result = try await serve { site in
      settings(site)
    } before: { site in
      try await site.server.ip("address", "flush", "dev", Site.serverInterface)
      return nil
    }
    #expect(result.errors.contains("eth1"))
    #expect(result.errors.contains("address"))
  }

  @Test(
    "a port that is in use, by number", .timeLimit(.minutes(2)), arguments: [("udp", 69), ("udp", 67), ("tcp", 9870)])
  func portInUse(kind: String, port: Int) async throws {
    let result = try await serve { site in
      settings(site)
    } before: { site in
      let holder = try RunningProcess(
        site.server.command(
          "perl", "-MIO::Socket::INET", "-e",
          """
          $| = 1;
          @listen = $ARGV[0] eq "tcp" ? (Listen => 1) : ();
          $socket = IO::Socket::INET->new(Proto => $ARGV[0], LocalPort => $ARGV[1], @listen) or die $!;
          print "listening\n";
          sleep 600;
          """, kind, "\(port)"))
      try await holder.log.line(containing: "listening", within: .seconds(10))
      return holder
    }
    #expect(result.errors.contains("\(port)"))
    #expect(result.errors.contains(/has (it|the port)/), "\(result.errors)")
  }

  @Test(
    "a configuration it cannot obey, with key and line", .timeLimit(.minutes(2)),
    arguments: [
      ("dhpc: { pool: 10.77.0.100-10.77.0.199 }", "dhpc"),
      ("tftp: { port: many }", "port"),
      ("provisioner: { port: 70000 }", "70000"),
    ])
  func badConfiguration(text: String, named: String) async throws {
    let result = try await serve { site in settings(site) { $0.extra = text } }
    #expect(result.errors.contains(named))
    #expect(result.errors.contains(/line \d+|:\d+:/), "\(result.errors)")
  }

  @Test("a pool outside its network", .timeLimit(.minutes(2)))
  func poolElsewhere() async throws {
    let result = try await serve { site in settings(site) { $0.pool = "192.168.7.10-192.168.7.20" } }
    #expect(result.errors.contains("192.168.7.10"))
  }

  @Test("a second appliance on the same state directory", .timeLimit(.minutes(2)))
  func secondAppliance() async throws {
    try await Site.with { site in
      let appliance = try Appliance(site, state: site.directory + "/state")
      try await appliance.start()
      let second = try await appliance.command("serve").run(timeout: .seconds(30))
      #expect(!second.timedOut)
      #expect(second.exitCode != 0)
      #expect(second.errors.contains("state"))
      #expect(try await appliance.nodes().isEmpty, "the first one does not answer any more")
      #expect(await appliance.stop() == .exited(0))
    }
  }
}

@Suite("An import refuses", .enabled(if: NetworkNamespace.isAvailable, "needs private namespaces"))
struct ImportRefusalTests {
  /// Imports a source made by `make`, without an appliance running, and checks that nothing of it stays.
  private func importing(
    _ wrap: [String] = [], _ make: (_ directory: String) async throws -> String
  ) async throws -> CommandResult {
    try await Site.with { site in
      let source = try await make(site.directory)
      let appliance = try Appliance(site, state: site.directory + "/state")
      var command = appliance.command("vnfs", "import", source, "--name", "broken", "--yes")
      command.arguments = wrap + command.arguments
      let result = try await command.run(timeout: .seconds(300))
      #expect(!result.timedOut)
      #expect(result.exitCode != 0)
      let files = try await largeFiles(appliance.state)
      #expect(files.isEmpty, "left behind: \(files)")
      struct Capsule: Decodable { var name: String }
      #expect(try await appliance.json([Capsule].self, "vnfs", "list").isEmpty)
      return result
    }
  }

  /// Files that hold content, not bookkeeping.
  private func largeFiles(_ directory: String) async throws -> String {
    try await Command("find", directory, "-type", "f", "-size", "+64k", "-not", "-name", "store.sqlite*")
      .run().check().output
  }

  @Test("a tree without a kernel, and says what is missing", .timeLimit(.minutes(5)))
  func noKernel() async throws {
    let result = try await importing { directory in
      let tree = directory + "/tree"
      try await Command("mkdir", "-p", tree + "/etc", tree + "/sbin", tree + "/boot").run().check()
      return tree
    }
    #expect(result.errors.contains("kernel"))
  }

  @Test("a truncated archive, by name", .timeLimit(.minutes(5)))
  func truncated() async throws {
    let result = try await importing { directory in
      let path = directory + "/short.tar"
      let tree = try Cache.debianTree("bookworm")
      try await Command("sh", "-c", "head -c 40000000 \(tree) > \(path)").run().check()
      return path
    }
    #expect(result.errors.contains("short.tar"))
  }

  @Test("when the disk is full, and says so", .timeLimit(.minutes(5)))
  func fullDisk() async throws {
    try await Site.with { site in
      let state = site.directory + "/small"
      try await Command("mkdir", state).run().check()
      try await Command("mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", state).run().check()
      let appliance = try Appliance(site, state: state)
      let result = try await appliance.command(
        "vnfs", "import", try Cache.debianTree("bookworm"), "--name", "big", "--yes"
      ).run(timeout: .seconds(300))
      let left = try await largeFiles(state)
      try await Command("umount", state).run().check()
      #expect(!result.timedOut)
      #expect(result.exitCode != 0)
      #expect(result.errors.contains(/space|full/), "\(result.errors)")
      #expect(left.isEmpty, "left behind: \(left)")
    }
  }
}
