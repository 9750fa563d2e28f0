import Foundation
import Lab
import NetworkTypes

/// Our figures beside the peers', measured in one run on one machine: `make bench`.
///
/// BENCH_ROUNDS says how often everything is measured (2), BENCH_ONLY what (dhcp, tftp, http, states, unpack, capsule or
/// boot; all by default), BENCH_JSON names a file for the figures.
@main
struct Bench {
  static func main() async {
    do {
      if try await runAsPart(CommandLine.arguments.dropFirst()) { return }
      guard NetworkNamespace.isAvailable else { throw LabError("the benchmark \(NetworkNamespace.unavailable)") }
      let environment = ProcessInfo.processInfo.environment
      let rounds = environment["BENCH_ROUNDS"] ?? "2"
      guard let rounds = Int(rounds), (1...100).contains(rounds) else {
        throw LabError("BENCH_ROUNDS=\(rounds) is not a number from 1 to 100")
      }
      let only = environment["BENCH_ONLY"] ?? ""
      guard ["", "dhcp", "tftp", "http", "states", "unpack", "capsule", "boot"].contains(only) else {
        throw LabError("BENCH_ONLY=\(only) is none of dhcp, tftp, http, states, unpack, capsule and boot")
      }
      var rows: [Row] = []
      if ["", "dhcp"].contains(only) { rows += try await DHCPComparison(rounds: rounds).run { say("bench: \($0)") } }
      if ["", "tftp"].contains(only) { rows += try await TFTPComparison(rounds: rounds).run { say("bench: \($0)") } }
      if ["", "http"].contains(only) { rows += try await HTTPComparison(rounds: rounds).run { say("bench: \($0)") } }
      if ["", "states"].contains(only) {
        rows += try await StateComparison(rounds: rounds).run { say("bench: \($0)") }
      }
      if ["", "unpack"].contains(only) {
        rows += try await UnpackComparison(rounds: rounds).run { say("bench: \($0)") }
      }
      if ["", "capsule"].contains(only) {
        rows += try await CapsuleComparison(rounds: rounds).run { say("bench: \($0)") }
      }
      if ["", "boot"].contains(only) { rows += try await BootComparison(rounds: rounds).run { say("bench: \($0)") } }
      say("\n" + table(rows))
      if let file = environment["BENCH_JSON"], !file.isEmpty {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        try encoder.encode(rows).write(to: URL(fileURLWithPath: file), options: .atomic)
      }
    } catch {
      FileHandle.standardError.write(Data("bench: \(error)\n".utf8))
      exit(1)
    }
  }

  /// The parts that need processes of their own, in other namespaces.
  /// - Returns: Whether this is one of them.
  private static func runAsPart(_ arguments: ArraySlice<String>) async throws -> Bool {
    let words = Array(arguments)
    switch words.first {
    case "dhcp-floor" where words.count == 3:
      guard let address = IPv4Address(words[2]) else { throw LabError("dhcp-floor INTERFACE ADDRESS") }
      try answerAsFloor(interface: words[1], address: address)
    case "dhcp-ask" where words.count == 4:
      guard let server = IPv4Address(words[1]), let own = IPv4Address(words[2]), let mac = MACAddress(words[3]) else {
        throw LabError("dhcp-ask SERVER OWN MAC")
      }
      say("\(try DHCPQuestion(server: server, own: own, mac: mac).ask())")
    case "dhcp-load" where [5, 6].contains(words.count):
      let numbers = words.suffix(3).compactMap { Double($0) }
      let way: DHCPLoad.Way? =
        words.count == 5
        ? .broadcast(interface: words[1])
        : IPv4Address(words[1]).flatMap { agent in
          IPv4Address(words[2]).map { .relayed(agent: agent, server: $0) }
        }
      guard let way, numbers.count == 3, numbers[0] > 0, numbers[2] >= 1 else {
        throw LabError("dhcp-load INTERFACE|AGENT SERVER RATE CLIENTS MACHINES")
      }
      var load = try DHCPLoad(way, rate: numbers[0], clients: Int(numbers[1]), machines: Int(numbers[2]))
      say(String(decoding: try JSONEncoder().encode(try load.run()), as: UTF8.self))
    case "machine-stalls" where words.count == 2:
      guard let seconds = Double(words[1]), (0...60).contains(seconds) else { throw LabError("machine-stalls SECONDS") }
      say(String(decoding: try JSONEncoder().encode(MachineStalls.watch(seconds: seconds)), as: UTF8.self))
    case "tftp-server" where words.count == 2: try await MeasuredServer(directory: words[1]).run()
    case "tftp-client" where words.count == 5:
      guard let address = IPv4Address(words[1]), let clients = Int(words[3]), let window = Int(words[4]) else {
        throw LabError("tftp-client ADDRESS FILE CLIENTS WINDOW")
      }
      var client = try TFTPClient(address: address, path: words[2], clients: clients, window: window)
      say(String(decoding: try JSONEncoder().encode(try client.run()), as: UTF8.self))
    case "http-client" where words.count == 6:
      guard let address = IPv4Address(words[1]), let port = UInt16(words[2]), let connections = Int(words[4]),
        let downloads = Int(words[5])
      else { throw LabError("http-client ADDRESS PORT PATH CONNECTIONS DOWNLOADS") }
      let client = HTTPClient(
        address: address, port: port, path: words[3], connections: connections, downloads: downloads)
      say(String(decoding: try JSONEncoder().encode(try client.run()), as: UTF8.self))
    case "tftp-flood" where words.count == 4:
      guard let address = IPv4Address(words[1]), let count = Int(words[3]), count >= 2 else {
        throw LabError("tftp-flood ADDRESS FILE COUNT")
      }
      let result = try TFTPFlood(address: address, path: words[2], count: count).run()
      say(String(decoding: try JSONEncoder().encode(result), as: UTF8.self))
    case "state-load" where words.count == 5:
      guard let address = IPv4Address(words[1]), let rate = Int(words[2]), rate > 0, let seconds = Int(words[3]),
        seconds > 0, let nodes = Int(words[4]), nodes > 0
      else { throw LabError("state-load ADDRESS RATE SECONDS NODES") }
      let load = StateLoad(address: address, port: 9870, rate: rate, seconds: seconds, nodes: nodes)
      say(String(decoding: try JSONEncoder().encode(try load.run()), as: UTF8.self))
    default: return false
    }
    return true
  }

  /// Prints a line at once, also into a pipe.
  private nonisolated static func say(_ line: String) {
    FileHandle.standardOutput.write(Data((line + "\n").utf8))
  }
}
