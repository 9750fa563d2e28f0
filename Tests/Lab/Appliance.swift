import Foundation
package import NetworkTypes
import Synchronization

/// `perseid serve` on a site's server, with its configuration, its state directory and its admin verbs.
package final class Appliance: Sendable {
  /// What differs from one test's configuration to another's.
  package struct Settings: Sendable {
    package var interface = Site.serverInterface
    /// `dhcp.mode`; pool and lease time are said only where addresses are given.
    package var mode = "authoritative"
    package var pool = Site.pool
    package var leaseSeconds = 3600
    package var defaultCapsule = "debian-12"
    /// Appended to the YAML as it stands.
    package var extra = ""

    package init(leaseSeconds: Int = 3600) {
      self.leaseSeconds = leaseSeconds
    }

    package func yaml(state: String) -> String {
      """
      network:
        interface: \(interface)
      dhcp:
        mode: \(mode)
      \(mode == "authoritative" ? "  pool: \(pool)\n  leaseSeconds: \(leaseSeconds)" : "")
      paths:
        state: \(state)
      defaults:
        vnfs: \(defaultCapsule)
      \(extra)

      """
    }
  }

  package let site: Site
  package let state: String
  package let configuration: String
  private let process = Mutex<RunningProcess?>(nil)

  /// - Parameter state: The state directory, filled or not; made where it is missing.
  package init(_ site: Site, state: String, settings: Settings = Settings()) throws {
    self.site = site
    self.state = state
    configuration = site.directory + "/perseid.yaml"
    try FileManager.default.createDirectory(atPath: state, withIntermediateDirectories: true)
    try settings.yaml(state: state).write(toFile: configuration, atomically: true, encoding: .utf8)
  }

  /// The built `perseid`: $PERSEID, or beside the running executable.
  package static var executable: String {
    if let path = ProcessInfo.processInfo.environment["PERSEID"] { return path }
    let own = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
    return (own as NSString).deletingLastPathComponent + "/perseid"
  }

  /// The built `perseid-node`: $PERSEID_NODE, or beside `perseid`.
  package static var nodeExecutable: String {
    ProcessInfo.processInfo.environment["PERSEID_NODE"]
      ?? (executable as NSString).deletingLastPathComponent + "/perseid-node"
  }

  /// What `serve` says.
  package var log: LineLog? { process.withLock { $0?.log } }
  package var pid: Int32? { process.withLock { $0?.pid } }

  /// Starts `serve` and waits until every port answers.
  package func start() async throws {
    let readiness = try ReadinessSocket(path: site.directory + "/notify")
    defer { readiness.stop() }
    var command = command("serve")
    command.environment["NOTIFY_SOCKET"] = readiness.path
    let started = try RunningProcess(command, logFile: site.directory + "/perseid.log")
    process.withLock { $0 = started }
    // Whichever comes first: it is ready, or it has ended.
    started.log.whenClosed { readiness.stop() }
    do {
      try await readiness.log.line(containing: "READY=1", within: .seconds(60))
    } catch {
      let status = started.status
      await started.stop()
      throw LabError(
        "\(command) was not ready\(status.map { " but ended with \($0)" } ?? " within a minute"):\n\(started.log.tail(30))"
      )
    }
  }

  /// SIGTERM.
  @discardableResult
  package func stop() async -> ExitStatus? {
    await process.withLock { $0 }?.stop()
  }

  /// SIGKILL, as a power cut would.
  package func kill() async {
    await process.withLock { $0 }?.kill()
  }

  /// A `perseid` command with this appliance's configuration.
  package func command(_ arguments: String...) -> Command {
    command(arguments)
  }

  package func command(_ arguments: [String]) -> Command {
    Command([Self.executable, "--config", configuration] + arguments, namespace: site.server)
  }

  /// Runs a verb to its successful end.
  /// - Returns: What it printed.
  @discardableResult
  package func run(_ arguments: String..., timeout: Duration = .seconds(60)) async throws -> String {
    try await command(arguments).run(timeout: timeout).check().output
  }

  /// Runs a verb with `--json` and reads what it prints.
  package func json<Value: Decodable>(_ type: Value.Type = Value.self, _ arguments: String...) async throws -> Value {
    let output = try await command(arguments + ["--json"]).run().check().output
    do {
      return try JSONDecoder().decode(type, from: Data(output.utf8))
    } catch {
      throw LabError("`perseid \(arguments.joined(separator: " ")) --json` printed \(output): \(error)")
    }
  }
}

/// What `node status --json` says of a node.
package struct NodeStatus: Sendable, Decodable {
  package var name: String
  package var mac: String
  package var address: String?
  package var group: String?
  package var vnfs: String?
  package var state: String?
  package var lastContact: String?
  /// The generation that it booted, and the one that it took over since.
  package var generation: Int?
  package var synchronised: Int?
}

/// One event of `node timeline --json`.
package struct TimelineEntry: Sendable, Decodable {
  package var at: String
  package var source: String
  package var event: String
  package var detail: String
  package var seconds: Double?
  package var boot: String?
}

extension Appliance {
  package func nodes() async throws -> [NodeStatus] {
    try await json([NodeStatus].self, "node", "status")
  }

  /// The node with a machine's card; `nil` while there is none.
  package func node(_ mac: MACAddress) async throws -> NodeStatus? {
    try await nodes().first { $0.mac.lowercased() == mac.description }
  }

  package func timeline(_ node: String) async throws -> [TimelineEntry] {
    try await json([TimelineEntry].self, "node", "timeline", node)
  }

  /// Waits until the node of a machine is in a state.
  ///
  /// What `watch` prints is the sign to look again.
  /// - Throws: `LabError` naming the last event and the machine's last console lines.
  @discardableResult
  package func node(of machine: Machine, reaches state: String, within timeout: Duration) async throws -> NodeStatus {
    let deadline = ContinuousClock.now + timeout
    let watch = try RunningProcess(command("watch"))
    defer { watch.signal(15) }
    while true {
      let position = watch.log.position
      if let node = try await node(machine.mac), node.state == state { return node }
      let left = deadline - .now
      guard left > .zero, machine.isRunning else {
        throw LabError(
          """
          \(machine.configuration.name) (\(machine.mac)) did not reach \(state) \
          \(machine.isRunning ? "within \(timeout)" : "before it ended"); \(await whereItIs(machine))
          """)
      }
      // At the latest after this much, whatever `watch` says.
      _ = try? await watch.log.line("an event", from: position, within: min(left, .seconds(5))) { !$0.isEmpty }
      try Task.checkCancellation()
    }
  }

  /// The last event of a machine's boot and its console's last lines, in words.
  package func whereItIs(_ machine: Machine) async -> String {
    var words: String
    do {
      if let node = try await node(machine.mac) {
        let last = try await timeline(node.name).last
        words =
          "node \(node.name) is in state \(node.state ?? "none"), its last event: "
          + (last.map { "\($0.source) \($0.event) (\($0.detail))" } ?? "none")
      } else {
        words = "the appliance knows no node with this address"
      }
    } catch {
      words = "the appliance could not be asked: \(error)"
    }
    return "\(words); the last lines of its console:\n\(machine.console.tail(25))"
  }
}
