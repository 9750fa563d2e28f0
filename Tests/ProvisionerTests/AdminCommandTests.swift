import Foundation
import NetworkTypes
import Testing

import struct Lab.Command

@testable import Provisioner

/// The command itself, as people and scripts run it, where no appliance runs.
@Suite("The command", .timeLimit(.minutes(5)))
struct AdminCommandTests {
  @Test("takes --config in front of the noun and behind the verb, and $PERSEID_CONFIG where neither is there")
  func configuration() async throws {
    let site = try Site()
    #expect(try await site.run("node", "add", "52:54:00:00:00:01", "--config", site.file).status == 0)
    let front = try await site.run("--config", site.file, "node", "list")
    let behind = try await site.run("node", "list", "--config", site.file)
    let variable = try await site.run("node", "list", environment: ["PERSEID_CONFIG": site.file])
    for outcome in [front, behind, variable] {
      #expect(outcome.status == 0, "\(outcome)")
      #expect(outcome.output == front.output)
      #expect(outcome.output.contains("n0000"))
    }
  }

  private static let refused: [([String], Int32)] = [
    (["node", "frob"], 2), (["node", "set", "vnfs"], 2), (["nothing"], 2), (["node", "list", "--frob"], 2),
    (["node", "show"], 2), (["node", "add", "no-mac"], 2),
    (["node", "add", "52:54:00:00:00:02", "a b"], 2),
    (["node", "set", "colour", "blue", "n0000"], 2), (["node", "set", "enabled", "perhaps", "n0000"], 2),
    (["node", "set", "address", "10.0.0", "n0000"], 2),
    (["node", "list", "n[3-1]"], 2), (["node", "delete", "n[3-1]", "--yes"], 2),
    (["group", "set", "colour", "blue", "gpu"], 2), (["group", "set", "boot", "floppy", "gpu"], 2),
    (["group", "set", "boot", "ipxe", "a b"], 2), (["vnfs", "import", "/", "--name", "a b"], 2),
    (["node", "show", "n0042"], 1), (["node", "status", "n0042"], 1), (["node", "timeline", "n0042"], 1),
    (["node", "why", "n0042"], 1), (["node", "delete", "n0042", "--yes"], 1), (["node", "delete", "n0000"], 1),
    (["node", "set", "vnfs", "none", "n0000"], 1), (["node", "set", "name", "b", "n0042"], 1),
    (["node", "add", "52:54:00:00:00:01"], 1),
    (["group", "show", "none"], 1), (["group", "nodelist", "none"], 1), (["group", "status", "none"], 1),
    (["group", "delete", "none", "--yes"], 1), (["group", "set", "vnfs", "none", "gpu"], 1),
    (["vnfs", "show", "none"], 1), (["vnfs", "delete", "none", "--yes"], 1),
    (["vnfs", "import", "/nowhere"], 1), (["watch"], 1), (["serve"], 1),
  ]

  @Test("exits with 2 for wrong usage, with 1 where the appliance says no, and says why in a line", arguments: refused)
  func exitCodes(arguments: [String], status: Int32) async throws {
    let site = try Site()
    #expect(try await site.run("--config", site.file, "node", "add", "52:54:00:00:00:01", "n0000").status == 0)
    let outcome = try await site.run(arguments + (arguments == ["nothing"] ? [] : ["--config", site.file]))
    #expect(outcome.status == status, "\(outcome)")
    #expect(outcome.output.isEmpty)
    #expect(!outcome.errors.isEmpty)
    if status == 1 { #expect(outcome.errors.split(separator: "\n").count == 1, "\(outcome.errors)") }
  }

  @Test("says its version and how it is used on standard output, and ends with 0")
  func version() async throws {
    let site = try Site()
    let version = try await site.run("--version")
    #expect(version.status == 0 && version.output == "perseid \(Appliance.version)\n", "\(version)")
    for arguments in [["help"], ["--help"], ["help", "node", "add"], ["node", "add", "--help"]] {
      let help = try await site.run(arguments)
      #expect(help.status == 0 && help.output.contains("USAGE: perseid"), "\(help)")
    }
  }

  @Test("shows JSON and nothing else with --json: an array, or an object")
  func json() async throws {
    let site = try Site()
    let added = try await site.run("--config", site.file, "node", "add", "52:54:00:00:00:01", "--json")
    let node = try #require(try JSONSerialization.jsonObject(with: Data(added.output.utf8)) as? [String: Any])
    #expect(node["name"] as? String == "n0000")
    let verbs = [
      ["node", "list"], ["node", "status"], ["node", "timeline", "n0000"], ["group", "list"], ["vnfs", "list"],
    ]
    for verb in verbs {
      let outcome = try await site.run(["--config", site.file] + verb + ["--json"])
      #expect(try JSONSerialization.jsonObject(with: Data(outcome.output.utf8)) is [Any], "\(outcome)")
    }
    let status = try await site.run("--config", site.file, "node", "status", "--json")
    let nodes = try JSONSerialization.jsonObject(with: Data(status.output.utf8)) as? [[String: Any]]
    let keys = try #require(nodes?.first).keys
    #expect(Set(["name", "mac", "address", "group", "vnfs", "state", "lastContact"]).isSubset(of: keys))
  }

  @Test("deletes only when somebody says yes")
  func confirmation() async throws {
    let site = try Site()
    _ = try await site.run("--config", site.file, "node", "add", "52:54:00:00:00:01")
    let refused = try await site.run("--config", site.file, "node", "delete", "n*")
    #expect(refused.status == 1)
    #expect(refused.errors.contains("--yes"))
    #expect(try await site.run("--config", site.file, "node", "show", "n0000").status == 0)
    #expect(try await site.run("--config", site.file, "--yes", "node", "delete", "n*").status == 0)
    #expect(try await site.run("--config", site.file, "node", "show", "n0000").status == 1)
  }

  @Test("shows how it is used and ends with 2 where the verb, or everything, is missing")
  func noVerb() async throws {
    let site = try Site()
    for arguments in [[], ["node"], ["vnfs"]] {
      let outcome = try await site.run(arguments)
      #expect(outcome.status == 2 && outcome.output.isEmpty && outcome.errors.contains("USAGE: perseid"), "\(outcome)")
    }
  }

  @Test("completes the names that the running appliance knows, in bash itself")
  func names() async throws {
    try await withAdmin { _, appliance in
      for number in 1...3 { _ = try await appliance.addNode(AddNode(mac: mac(number).description, group: "gpu")) }
      _ = try await appliance.createToken(CreateToken(name: "backup", role: .read))
      let state = appliance.configuration.paths.state
      let site = try Site(state: state)
      #expect(try await site.complete("perseid node show n000") == ["n0000", "n0001", "n0002"])
      #expect(try await site.complete("perseid group show ") == ["cluster", "gpu"])
      #expect(try await site.complete("perseid token delete b") == ["backup"])
    }
    #expect(try await Site().complete("perseid node show n") == [], "where none runs")
  }

  @Test("writes a first configuration, and never over one that is there")
  func firstConfiguration() async throws {
    let site = try Site()
    let there = try await site.run("init", "--config", site.file)
    #expect(there.status == 1 && there.errors.contains("is there already"), "\(there)")
    let none = try await site.run("init", "--interface", "no-such-card", "--config", site.file + ".new")
    #expect(none.status == 1 && none.errors.contains("no interface no-such-card"), "\(none)")
    #expect(!FileManager.default.fileExists(atPath: site.file + ".new"))
  }

  @Test("makes completion scripts that know nouns, verbs and names")
  func completion() async throws {
    let site = try Site()
    for shell in ["bash", "zsh", "fish"] {
      let script = try await site.run("--generate-completion-script", shell)
      #expect(script.status == 0)
      #expect(script.output.contains("timeline"))
    }
  }
}

/// A configuration with a state directory of its own, and the command that was built with the tests.
private struct Site {
  private let directory: TestDirectory
  let file: String

  /// - Parameter state: The state directory of an appliance that runs.
  init(state: String? = nil) throws {
    directory = try TestDirectory()
    file = directory.path + "/perseid.yaml"
    try directory.write(
      "network: { interface: no-such-card }\npaths: { state: \(state ?? directory.path + "/state") }\n",
      to: "perseid.yaml")
  }

  /// What bash offers behind a line.
  func complete(_ line: String) async throws -> [String] {
    let command = try Self.executable()
    let script = try await run("--generate-completion-script", "bash")
    try directory.write(script.output, to: "completion.bash")
    let words = line.split(separator: " ", omittingEmptySubsequences: false).map { "'\($0)'" }
    try directory.write(
      """
      source '\(directory.path)/completion.bash'
      COMP_WORDS=(\(words.joined(separator: " "))) COMP_CWORD=\(words.count - 1)
      COMP_LINE='\(line)' COMP_POINT=\(line.utf8.count)
      _perseid
      for reply in "${COMPREPLY[@]}"; do echo "$reply"; done
      """, to: "complete.bash")
    let path = "PATH=\(command.deletingLastPathComponent().path):/usr/bin:/bin"
    let offered = try await Command(
      "env", "-i", path, "PERSEID_CONFIG=\(file)", "bash", directory.path + "/complete.bash"
    ).run().output
    return offered.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }.sorted()
  }

  struct Outcome: Sendable {
    var status: Int32
    var output: String
    var errors: String
  }

  func run(_ arguments: String..., environment: [String: String] = [:]) async throws -> Outcome {
    try await run(arguments, environment: environment)
  }

  /// With no terminal, and nothing in its environment but what is named.
  func run(_ arguments: [String], environment: [String: String] = [:]) async throws -> Outcome {
    let variables = ["PATH": "/usr/bin:/bin"].merging(environment) { $1 }.map { "\($0.key)=\($0.value)" }
    let result = try await Command(["env", "-i"] + variables + [try Self.executable().path] + arguments)
      .run(timeout: .seconds(120))
    return Outcome(status: result.exitCode, output: result.output, errors: result.errors)
  }

  /// Beside the tests' own executable.
  private static func executable() throws -> URL {
    let own = URL(filePath: try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"))
    let command = own.deletingLastPathComponent().appending(path: "perseid")
    try #require(FileManager.default.isExecutableFile(atPath: command.path), "\(command.path) is not built")
    return command
  }
}
