import CLinux
import Foundation
import Lab
import NetworkTypes

/// A DHCP server that is measured: ours as it is shipped, Kea, or the floor, which keeps no state at all.
enum DHCPServerKind: String, CaseIterable, Sendable {
  case ours = "Perseid"
  case kea = "Kea"
  case floor = "stateless floor"

  static let interface = "eth1"
  static let address = IPv4Address(10, 0, 0, 1)
  static let pool = "10.1.0.1-10.1.255.254"

  /// - Parameter directory: On a disk; made anew for each start.
  func command(_ directory: String, _ namespace: NetworkNamespace) throws -> Command {
    try? FileManager.default.removeItem(atPath: directory)
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    switch self {
    case .ours:
      let file = directory + "/perseid.yaml"
      try """
      network: { interface: \(Self.interface) }
      dhcp:
        pool: \(Self.pool)
        leaseSeconds: 3600
      paths:
        state: \(directory)/state

      """.write(toFile: file, atomically: true, encoding: .utf8)
      return Command(Appliance.executable, "--config", file, "serve").in(namespace)
    case .kea:
      let file = directory + "/kea.conf"
      try """
      { "Dhcp4": {
        "interfaces-config": { "interfaces": [ "\(Self.interface)" ], "dhcp-socket-type": "raw" },
        "lease-database": { "type": "memfile", "name": "\(directory)/leases.csv" },
        "multi-threading": { "enable-multi-threading": true, "thread-pool-size": 2, "packet-queue-size": 64 },
        "valid-lifetime": 3600,
        "subnet4": [ { "subnet": "10.0.0.0/8", "pools": [ { "pool": "\(Self.pool)" } ] } ],
        "loggers": [ { "name": "kea-dhcp4", "severity": "ERROR", "output_options": [ { "output": "stderr" } ] } ]
      } }

      """.write(toFile: file, atomically: true, encoding: .utf8)
      var command = Command("kea-dhcp4", "-c", file).in(namespace)
      command.environment["KEA_LOCKFILE_DIR"] = directory
      command.environment["KEA_PIDFILE_DIR"] = directory
      return command
    case .floor:
      let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
      return Command(program, "dhcp-floor", Self.interface, "\(Self.address)").in(namespace)
    }
  }

  /// Starts it and waits until it answers.
  func start(_ directory: String, _ namespace: NetworkNamespace) async throws -> RunningProcess {
    let process = try RunningProcess(try command(directory, namespace))
    if self == .ours {
      // It listens before it answers: first it looks for other servers.
      do {
        try await process.log.line(containing: "The appliance is ready", within: .seconds(60))
      } catch {
        await process.stop()
        throw error
      }
      return process
    }
    let end = ContinuousClock.now + .seconds(60)
    while try await namespace.command("ss", "-Hlun", "sport = :67").run().check().output.isEmpty {
      guard process.isRunning, ContinuousClock.now < end else {
        await process.stop()
        throw LabError("\(rawValue) does not answer on port 67:\n\(process.log.tail(20))")
      }
    }
    return process
  }
}

/// `perseid-bench dhcp-floor INTERFACE ADDRESS`
func answerAsFloor(interface: String, address: IPv4Address) throws {
  let result = clinux_bench_dhcp_floor(interface, address.rawValue)
  throw LabError("the floor cannot answer on \(interface): \(String(cString: strerror(-result)))")
}
