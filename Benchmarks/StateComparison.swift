import Foundation
import Lab
import NetworkTypes

/// Plans and lists for a hundred nodes and for ten thousand, against the limits we set ourselves.
struct StateComparison {
  let rounds: Int

  private static let few = 100
  private static let many = 10_000
  private static let scripts = 20
  private static let rate = 1000
  private static let seconds = 10
  private static let sets = 20

  private struct Figures {
    var median = 0.0
    var p99 = 0.0
    /// Milliseconds of the appliance's processors for one report.
    var cost = 0.0
    /// Milliseconds.
    var list = 0.0
    /// Settings that the DHCP packet behind them was answered with.
    var seen = 0.0
  }

  func run(_ progress: @Sendable (String) -> Void) async throws -> [Row] {
    var few: [Figures] = []
    var many: [Figures] = []
    for round in 1...rounds {
      for count in [Self.few, Self.many] {
        progress("round \(round) of \(rounds): plans with \(count) nodes registered")
        let figures = try await measure(count)
        progress(
          "  median \(rounded(figures.median)) ms, p99 \(rounded(figures.p99)) ms, \(rounded(figures.cost)) ms of "
            + "processor a report, node list \(rounded(figures.list)) ms, \(rounded(figures.seen)) of \(Self.sets) "
            + "settings in the next DHCP answer")
        if count == Self.few { few.append(figures) } else { many.append(figures) }
      }
    }
    let limit = "our limit"
    return [
      Row(
        name: "plan of 20 scripts, p99 at 1,000 reports/s, 10,000 nodes", unit: "ms", ours: many.map(\.p99),
        theirs: [5], peer: limit, goal: 1),
      Row(
        name: "processor time of a report, 10,000 nodes registered", unit: "ms", ours: many.map(\.cost),
        theirs: few.map(\.cost), peer: "with 100", goal: 1.2),
      Row(
        name: "node list of 10,000 nodes", unit: "ms", ours: many.map(\.list), theirs: [200], peer: limit, goal: 1),
      Row(
        name: "node set, seen by the next DHCP packet, 10,000 nodes", unit: "", ours: many.map(\.seen),
        theirs: [Double(Self.sets)], peer: "all of them", goal: 1, isMoreBetter: true),
    ]
  }

  private func measure(_ count: Int) async throws -> Figures {
    try await Site.with { site in
      let state = site.directory + "/state"
      let scripts = state + "/nodescripts/ready/all"
      try FileManager.default.createDirectory(atPath: scripts, withIntermediateDirectories: true)
      for number in 10..<(10 + Self.scripts) {
        let text = "#!/bin/sh\n# Script \(number).\n" + String(repeating: "true\n", count: 200)
        try text.write(toFile: "\(scripts)/\(number)-script", atomically: true, encoding: .utf8)
      }
      var registry = "perseid: 1\nnodes:\n"
      for number in 0..<count {
        registry += "  n\(String(100_000 + number).dropFirst()): { mac: ['\(StateLoad.mac(number))'] }\n"
      }
      let file = site.directory + "/registry.yaml"
      try registry.write(toFile: file, atomically: true, encoding: .utf8)
      let appliance = try Appliance(site, state: state)
      try await appliance.run("registry", "import", file, "--yes", timeout: .seconds(120))
      try await appliance.start()
      do {
        // All nodes once: their first report is an event, which those that follow are not.
        _ = try await load(site, seconds: max(1, count / Self.rate), nodes: count)
        let before = try processorSeconds(appliance)
        let result = try await load(site, seconds: Self.seconds, nodes: Self.few)
        let after = try processorSeconds(appliance)
        guard result.failed == 0 else { throw LabError("\(result.failed) of \(result.answered) reports failed") }
        var list = Double.infinity
        for _ in 0..<5 {
          let began = ContinuousClock.now
          try await appliance.run("node", "list")
          list = min(list, (ContinuousClock.now - began).seconds * 1000)
        }
        let seen = try await settingsSeen(site, appliance)
        await appliance.stop()
        return Figures(
          median: result.median, p99: result.p99, cost: (after - before) * 1000 / Double(result.answered), list: list,
          seen: Double(seen))
      } catch {
        await appliance.stop()
        throw LabError("\(error)\nthe appliance said last:\n\(appliance.log?.tail(20) ?? "")")
      }
    }
  }

  /// A relay agent asks for a machine whenever its node's address was set.
  private func settingsSeen(_ site: Site, _ appliance: Appliance) async throws -> Int {
    let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    return try await site.withHost("relay") { host in
      try await host.command("ip", "addr", "add", "10.77.0.9/24", "dev", "eth0").run().check()
      var seen = 0
      for number in 0..<Self.sets {
        let address = "10.77.0.\(20 + number)"
        try await appliance.run("node", "set", "address", address, "n00000")
        let answer = try await host.command(
          own, "dhcp-ask", "\(Site.serverAddress)", "10.77.0.9", "\(StateLoad.mac(0))"
        ).run(timeout: .seconds(20)).check().output
        if answer.contains(address + "\n") { seen += 1 }
      }
      return seen
    }
  }

  private func load(_ site: Site, seconds: Int, nodes: Int) async throws -> StateLoad.Result {
    let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    let words = [own, "state-load", "\(Site.serverAddress)", "\(Self.rate)", "\(seconds)", "\(nodes)"]
    let output = try await Command(words, namespace: site.server).run(timeout: .seconds(120)).check().output
    return try JSONDecoder().decode(StateLoad.Result.self, from: Data(output.utf8))
  }

  /// Seconds that the appliance has kept processors busy (proc(5), stat: utime and stime).
  private func processorSeconds(_ appliance: Appliance) throws -> Double {
    guard let pid = appliance.pid else { throw LabError("the appliance does not run") }
    let text = try String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)
    let fields = text.split(separator: ")").last?.split(separator: " ") ?? []
    guard fields.count > 12, let user = Double(fields[11]), let system = Double(fields[12]) else {
      throw LabError("/proc/\(pid)/stat cannot be read: \(text)")
    }
    return (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
  }
}
