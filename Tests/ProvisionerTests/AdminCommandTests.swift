import Foundation
import Testing

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

  init() throws {
    directory = try TestDirectory()
    file = directory.path + "/perseid.yaml"
    try directory.write(
      "network: { interface: no-such-card }\npaths: { state: \(directory.path)/state }\n", to: "perseid.yaml")
  }

  struct Outcome: Sendable {
    var status: Int32
    var output: String
    var errors: String
  }

  func run(_ arguments: String..., environment: [String: String] = [:]) async throws -> Outcome {
    try await run(arguments, environment: environment)
  }

  /// With no terminal, and a bound of 60 seconds.
  func run(_ arguments: [String], environment: [String: String] = [:]) async throws -> Outcome {
    let output = directory.path + "/\(UUID().uuidString)"
    return try await blocking {
      let process = Process()
      process.executableURL = URL(filePath: "/usr/bin/timeout")
      process.arguments = ["60", try Self.executable().path] + arguments
      process.environment = ["PATH": "/usr/bin:/bin"].merging(environment) { $1 }
      process.standardInput = FileHandle.nullDevice
      for name in [".out", ".err"] {
        try #require(FileManager.default.createFile(atPath: output + name, contents: nil))
      }
      process.standardOutput = try FileHandle(forWritingTo: URL(filePath: output + ".out"))
      process.standardError = try FileHandle(forWritingTo: URL(filePath: output + ".err"))
      try process.run()
      process.waitUntilExit()
      return Outcome(
        status: process.terminationStatus, output: try String(contentsOfFile: output + ".out", encoding: .utf8),
        errors: try String(contentsOfFile: output + ".err", encoding: .utf8))
    }
  }

  /// Beside the tests' own executable.
  private static func executable() throws -> URL {
    let own = URL(filePath: try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"))
    let command = own.deletingLastPathComponent().appending(path: "perseid")
    try #require(FileManager.default.isExecutableFile(atPath: command.path), "\(command.path) is not built")
    return command
  }
}
