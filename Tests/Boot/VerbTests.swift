import Foundation
import Lab
import Testing

@Suite("A verb", .enabled(if: NetworkNamespace.isAvailable, "needs private namespaces"))
struct VerbTests {
  /// Runs `body` beside an appliance without any capsule, as on its first day.
  private func withEmptyAppliance(_ body: (Appliance) async throws -> Void) async throws {
    try await Site.with { site in
      let appliance = try Appliance(site, state: site.directory + "/state")
      try await appliance.start()
      try await body(appliance)
      #expect(await appliance.stop() == .exited(0))
    }
  }

  @Test("works on the first day, when the default capsule does not exist yet", .timeLimit(.minutes(2)))
  func firstDay() async throws {
    try await withEmptyAppliance { appliance in
      let nodes = try await appliance.nodes()
      #expect(nodes.isEmpty)
      #expect(try await appliance.run("module", "list").contains("There are no modules yet."))
      #expect(appliance.log?.text.contains("debian-12") == true, "no word about the missing default capsule")
    }
  }

  @Test("does the same with and without a running appliance", .timeLimit(.minutes(2)))
  func withoutAppliance() async throws {
    try await Site.with { site in
      let appliance = try Appliance(site, state: site.directory + "/state")
      try await appliance.run("node", "add", "52:54:00:00:00:07", "n0007", "--group", "gpu")
      #expect(try await appliance.nodes().map(\.name) == ["n0007"])
      try await appliance.start()
      try await appliance.run("node", "add", "52:54:00:00:00:08", "n0008")
      #expect(try await appliance.nodes().map(\.name).sorted() == ["n0007", "n0008"])
      await appliance.stop()
      #expect(try await appliance.nodes().map(\.name).sorted() == ["n0007", "n0008"])
      #expect(try await appliance.nodes().first { $0.name == "n0007" }?.group == "gpu")
    }
  }

  @Test("that destroys refuses without a terminal, unless it is told yes", .timeLimit(.minutes(2)))
  func destruction() async throws {
    try await withEmptyAppliance { appliance in
      try await appliance.run("node", "add", "52:54:00:00:00:07", "n0007")
      let refused = try await appliance.command("node", "delete", "n0007").run()
      #expect(refused.exitCode == 1)
      #expect(refused.errors.contains("--yes"))
      #expect(try await appliance.nodes().count == 1)
      try await appliance.run("node", "delete", "n0007", "--yes")
      #expect(try await appliance.nodes().isEmpty)
    }
  }

  @Test("that makes the registry what a file says, says first what would go, change and come", .timeLimit(.minutes(2)))
  func registryImport() async throws {
    try await withEmptyAppliance { appliance in
      try await appliance.run("node", "add", "52:54:00:00:00:07", "n0007")
      try await appliance.run("node", "add", "52:54:00:00:00:08", "n0008", "--group", "gpu")
      let file = appliance.state + "/nodes.yaml"
      try await appliance.run("registry", "export", file)
      let same = try await appliance.run("registry", "import", file, "--check")
      #expect(same.contains("It would be: nothing changed; 2 nodes"))
      try await appliance.run("node", "set", "debug", "yes", "n0008")
      try await appliance.run("node", "set", "name", "n0009", "n0007")
      let words = "1 node deleted (n0009); 1 node changed (n0008); 1 node added (n0007)"
      #expect(try await appliance.run("registry", "import", file, "--check").contains(words))
      let refused = try await appliance.command("registry", "import", file).run()
      #expect(refused.exitCode == 1 && refused.errors.contains(words) && refused.errors.contains("--yes"))
      #expect(try await appliance.nodes().map(\.name).sorted() == ["n0008", "n0009"])
      #expect(try await appliance.run("registry", "import", file, "--yes").contains(words))
      #expect(try await appliance.nodes().map(\.name).sorted() == ["n0007", "n0008"])
    }
  }

  @Test("used wrongly ends with 2, one that is refused with 1", .timeLimit(.minutes(2)))
  func exitCodes() async throws {
    try await withEmptyAppliance { appliance in
      let unheardOf = try await appliance.command("node", "frobnicate").run()
      #expect(unheardOf.exitCode == 2)
      #expect(unheardOf.errors.contains("perseid node has no verb 'frobnicate'. It has: add,"))
      let misspelt = try await appliance.command("node", "add", "not-a-mac", "n0001").run()
      #expect(misspelt.exitCode == 2)
      #expect(misspelt.errors.contains("not-a-mac"))
      let unknown = try await appliance.command("node", "show", "n4711").run()
      #expect(unknown.exitCode == 1)
      #expect(unknown.errors.contains("n4711"))
      #expect(unknown.output.isEmpty)
      try await appliance.run("node", "add", "52:54:00:00:00:07", "n0001")
      let key = try await appliance.command("node", "set", "colour", "blue", "n0001").run()
      #expect(key.exitCode == 2)
      #expect(key.errors.contains("colour"))
    }
  }
}
