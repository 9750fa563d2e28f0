import Foundation
import Lab
import Testing

/// A state directory of its own, in which the verbs work without an appliance.
struct CapsulePlace {
  let directory: String
  let configuration: String
  let environment: [String: String]

  /// - Parameter settings: Appended to the configuration's YAML.
  init(settings extra: String = "") throws {
    directory = try ScratchDirectory.make()
    configuration = directory + "/perseid.yaml"
    var settings = Appliance.Settings()
    settings.interface = "lo"
    settings.extra = extra
    settings.pool = "127.0.0.2-127.0.0.9"
    try settings.yaml(state: directory + "/state").write(toFile: configuration, atomically: true, encoding: .utf8)
    environment = ["HOME": directory]
  }

  @discardableResult
  func shell(_ script: String) async throws -> String {
    try await Command(["sh", "-euc", script], environment: environment, directory: directory)
      .run(timeout: .seconds(300)).check().output
  }

  func vnfs(_ arguments: String...) async throws -> (output: String, succeeded: Bool) {
    try await perseid(["vnfs"] + arguments)
  }

  func perseid(_ arguments: [String]) async throws -> (output: String, succeeded: Bool) {
    let ended = try await Command(
      [Appliance.executable, "--config", configuration] + arguments, environment: environment
    ).run(timeout: .seconds(300))
    return (ended.output + ended.errors, ended.succeeded)
  }

  func digest(_ name: String) async throws -> String {
    let shown = try await Command(
      Appliance.executable, "--config", configuration, "vnfs", "show", name, "--json"
    ).run(timeout: .seconds(60)).check().output
    let value = try JSONSerialization.jsonObject(with: Data(shown.utf8)) as? [String: Any]
    return try #require(value?["digest"] as? String)
  }

  /// The file of a capsule's first blob of a media type.
  func blob(_ name: String, ofType type: String) async throws -> String {
    func path(_ digest: String) -> String { "\(directory)/state/blobs/\(digest.replacing(":", with: "/"))" }
    let manifest =
      try JSONSerialization.jsonObject(
        with: Data(contentsOf: URL(fileURLWithPath: path(try await digest(name))))) as? [String: Any]
    let layers = try #require(manifest?["layers"] as? [[String: Any]])
    let layer = try #require(layers.first { $0["mediaType"] as? String == type })
    return path(try #require(layer["digest"] as? String))
  }

  /// docker-registry on loopback. It speaks plain HTTP, and registries.conf(5) says so to every skopeo of this place.
  func startRegistry() async throws -> (process: RunningProcess, port: Substring) {
    try """
    version: 0.1
    storage: { filesystem: { rootdirectory: \(directory)/registry } }
    http: { addr: "127.0.0.1:0" }
    """.write(toFile: directory + "/registry.yml", atomically: true, encoding: .utf8)
    let process = try RunningProcess(Command("docker-registry", "serve", "\(directory)/registry.yml"))
    let line = try await process.log.line(containing: "listening on 127.0.0.1:", within: .seconds(60))
    let port = try #require(line.split(separator: "127.0.0.1:").last.map { $0.prefix { $0.isNumber } })
    try await shell(
      """
      mkdir -p .config/containers
      printf '[[registry]]\\nlocation = "127.0.0.1:\(port)"\\ninsecure = true\\n' >.config/containers/registries.conf
      """)
    return (process, port)
  }
}
