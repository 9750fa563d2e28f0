import DHCPWire
import Foundation
import Lab
import NetworkTypes

/// DHCP servers side by side on a cable between two namespaces: ours with durable leases, Kea with leases that do not
/// wait for the disk, and the floor, which has no leases at all.
struct DHCPComparison {
  let rounds: Int

  /// The most drops at which a rate counts as served.
  private static let drops = 0.01
  /// How long one rate is tried, in seconds, and the rate that the search begins with, per second.
  private static let seconds = 2
  private static let firstRate = 8000.0
  /// Where a server is so fast that only the client is measured.
  private static let lastRate = 64_000.0
  /// Machines that ask again and again in each of the searches for a rate: both fit into the pool.
  private static let machines = 30_000
  private static let avalanche = 10_000
  private static let leases = 50_000
  private static let clientAddress = IPv4Address(10, 0, 0, 2)

  /// What one server did in one round.
  private struct Figures {
    /// Four-way exchanges per second: of perfdhcp's clients, and of our own through a relay agent and on the segment.
    var perfdhcp = 0.0
    var relayed = 0.0
    var broadcast = 0.0
    /// From REQUEST to ACK, at half of our `perfdhcp` and of our `broadcast`.
    var halfRelayed = AnswerTime()
    var halfBroadcast = AnswerTime()
    /// Seconds until the last of ``avalanche`` clients had its lease.
    var avalanche = 0.0
    /// Bytes resident at most, with ``leases`` leases.
    var resident = 0.0
  }

  /// The 99th percentile.
  private struct AnswerTime {
    var milliseconds = 0.0
    /// How much of the measurement's time the machine itself stood still, in percent.
    var stillness = 0.0
  }

  /// What a rate that was tried came to.
  private struct Point {
    /// Exchanges finished per second.
    var rate: Double
    var drops: Double
  }

  /// Two namespaces and the cable between them.
  private struct Cable {
    var server: NetworkNamespace
    var client: NetworkNamespace
  }

  /// How a server and perfdhcp, which sends in one thread and receives in another, share the processors.
  ///
  /// What perfdhcp is sent while it does not run is lost after some 160 packets, and with two processors that decides
  /// which rate it can measure. So each server is measured in both arrangements, and the better one counts.
  private enum Arrangement: CaseIterable {
    /// All run where there is room.
    case shared
    /// perfdhcp has one processor, with one thread, and the server all others.
    case apart

    private var processors: (server: String, client: String) {
      let last = ProcessInfo.processInfo.activeProcessorCount - 1
      return self == .shared || last == 0 ? ("0-\(last)", "0-\(last)") : ("0-\(last - 1)", "\(last)")
    }

    /// The command, without what it shall do.
    var perfdhcp: [String] {
      ["taskset", "-c", processors.client, "perfdhcp"] + (self == .shared ? [] : ["-g", "single"])
    }

    /// Gives a server, all its threads, its processors.
    func give(_ pid: pid_t, _ namespace: NetworkNamespace) async throws {
      try await namespace.command("taskset", "-a", "-c", "-p", processors.server, "\(pid)").run().check()
    }
  }

  func run(_ progress: @Sendable (String) -> Void) async throws -> [Row] {
    // Not in the scratch directory, which may be memory: durable leases are measured on a disk.
    let directory = Cache.directory + "/dhcp-bench"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let fileSystem = try await Command("stat", "-f", "-c", "%T", directory).run().check().output
    guard !fileSystem.contains("tmpfs"), !fileSystem.contains("ramfs") else {
      throw LabError("\(directory) is in memory: set PERSEID_CACHE to a directory on a disk")
    }
    return try await NetworkNamespace.with("dhcp-server") { server in
      try await NetworkNamespace.with("dhcp-client") { client in
        let interface = DHCPServerKind.interface
        try await server.connect(interface, to: client, interface)
        try await server.configure(interface, address: DHCPServerKind.address, prefixLength: 8)
        try await client.configure(interface, address: Self.clientAddress, prefixLength: 8)
        let cable = Cable(server: server, client: client)
        var figures: [DHCPServerKind: [Figures]] = [:]
        for _ in 1...rounds {
          var first: Figures?
          for kind in DHCPServerKind.allCases {
            // Ours come first, and the others are asked what they do at the same rates.
            let figure = try await measure(kind, first, directory, cable)
            first = first ?? figure
            progress(
              "DHCP: \(kind.rawValue): \(Int(figure.perfdhcp)) exchanges/s with perfdhcp, "
                + "\(Int(figure.relayed)) relayed, \(Int(figure.broadcast)) broadcast, "
                + "ACK after \(rounded(figure.halfRelayed.milliseconds)) and "
                + "\(rounded(figure.halfBroadcast.milliseconds)) ms at half of ours, "
                + "\(Self.avalanche) clients at once "
                + "in \(rounded(figure.avalanche)) s, \(Int(figure.resident / 1e6)) MB with \(Self.leases) leases")
            figures[kind, default: []].append(figure)
          }
        }
        return Self.rows(figures)
      }
    }
  }

  private func measure(
    _ kind: DHCPServerKind, _ first: Figures?, _ directory: String, _ cable: Cable
  ) async throws -> Figures {
    var figures = Figures()
    let busy = try await kind.start(directory, cable.server)
    do {
      for arrangement in Arrangement.allCases {
        try await arrangement.give(busy.pid, cable.server)
        let rate = try await Self.highestRate { try await perfdhcp($0, arrangement, cable) }
        figures.perfdhcp = max(figures.perfdhcp, rate)
      }
      try await Arrangement.shared.give(busy.pid, cable.server)
      figures.relayed = try await highestRate(Self.relayed, cable)
      figures.broadcast = try await highestRate(Self.broadcast, cable)
      let loads = first ?? figures
      figures.halfRelayed = try await acknowledgeTime(Self.relayed, at: loads.perfdhcp / 2, cable)
      figures.halfBroadcast = try await acknowledgeTime(Self.broadcast, at: loads.broadcast / 2, cable)
      await busy.stop()
    } catch {
      await busy.stop()
      throw LabError("\(kind.rawValue): \(error)\n\(busy.log.tail(10))")
    }
    if kind == .floor { return figures }
    // Begun anew, so that both are told of clients that no server ever saw.
    let fresh = try await kind.start(directory, cable.server)
    do {
      figures.avalanche = try await avalanche(cable)
      _ = try await load(
        Self.broadcast, max(figures.broadcast / 2, 1), clients: Self.leases, machines: Self.leases, cable)
      figures.resident = ServerProcess.residentBytes(fresh.pid)
      await fresh.stop()
    } catch {
      await fresh.stop()
      throw LabError("\(kind.rawValue): \(error)\n\(fresh.log.tail(10))")
    }
    return figures
  }

  // MARK: Loads

  /// The highest rate that a server holds: doubled until it does not, then halved into. A rate has failed when
  /// it has failed twice, since other programs run on the machine too.
  private static func highestRate(_ measure: (Double) async throws -> Point) async throws -> Double {
    var best = 0.0
    func holds(_ rate: Double) async throws -> Bool {
      for _ in 1...2 {
        let point = try await measure(rate)
        // Where the client itself is too slow for the rate, there is nothing to learn above it.
        if point.drops <= drops { best = max(best, point.rate) }
        if point.drops <= drops, point.rate > 0.9 * rate { return true }
      }
      return false
    }
    var low = 0.0
    var high = firstRate
    while try await holds(high) {
      low = high
      if high >= lastRate { return best }
      high *= 2
    }
    for _ in 1...3 {
      let middle = (low + high) / 2
      if try await holds(middle) { low = middle } else { high = middle }
    }
    return best
  }

  private func highestRate(_ way: [String], _ cable: Cable) async throws -> Double {
    try await Self.highestRate { rate in
      let result = try await load(way, rate, clients: Int(rate) * Self.seconds, machines: Self.machines, cable)
      return Point(rate: result.perSecond, drops: result.drops)
    }
  }

  /// perfdhcp is a relay agent: its requests and the answers are datagrams between two addresses.
  private func perfdhcp(_ rate: Double, _ arrangement: Arrangement, _ cable: Cable) async throws -> Point {
    let output = try await cable.client.command(
      arrangement.perfdhcp + [
        "-4", "-r", "\(Int(rate))", "-p", "\(Self.seconds)", "-R", "\(Self.machines)", "-b", "mac=02:00:00:00:00:00",
        "-W", "300000", "\(DHCPServerKind.address)",
      ]
    ).run(timeout: .seconds(60)).output
    let sent = Self.numbers("sent packets:", output)
    let received = Self.numbers("received packets:", output)
    guard sent.count == 2, received.count == 2 else { throw LabError("perfdhcp printed:\n\(output)") }
    // Of the clients that began, those that have their lease; whichever of the four packets was lost.
    return Point(
      rate: received[1] / Double(Self.seconds), drops: sent[0] == 0 ? 1 : 1 - received[1] / sent[0])
  }

  private func avalanche(_ cable: Cable) async throws -> Double {
    let limit = 40
    let result = try await cable.client.command(
      "perfdhcp", "-4", "--scenario", "avalanche", "-R", "\(Self.avalanche)", "-b", "mac=04:00:00:00:00:00",
      "\(DHCPServerKind.address)"
    ).run(timeout: .seconds(limit))
    // `It took 00:00:16.728151 to provision 10000 clients.`
    guard let line = result.output.split(separator: "\n").first(where: { $0.hasPrefix("It took") }) else {
      // Some have none yet.
      return Double(limit)
    }
    return line.split(separator: " ").dropFirst(2).first?.split(separator: ":")
      .reduce(0.0) { $0 * 60 + (Double($1) ?? .nan) } ?? .nan
  }

  /// From REQUEST to ACK: the middle one of five tries, since a disk that stands still
  /// for a moment spoils one of them, whichever server is measured.
  private func acknowledgeTime(_ way: [String], at rate: Double, _ cable: Cable) async throws -> AnswerTime {
    let rate = max(rate, 1)
    var times: [AnswerTime] = []
    for _ in 1...5 {
      async let stalls = stalls()
      let result = try await load(way, rate, clients: Int(rate) * Self.seconds, machines: Self.machines, cable)
      times.append(
        AnswerTime(milliseconds: result.acknowledgeMilliseconds, stillness: try await stalls.share * 100))
    }
    return times.sorted { $0.milliseconds < $1.milliseconds }[times.count / 2]
  }

  /// What the machine does while a rate is tried.
  private func stalls() async throws -> MachineStalls {
    let answer = try await Command(try Self.program(), "machine-stalls", "\(Self.seconds)").run(timeout: .seconds(60))
      .check()
    return try JSONDecoder().decode(MachineStalls.self, from: Data(answer.output.utf8))
  }

  private static func program() throws -> String {
    try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
  }

  /// How our own clients come to the server (``DHCPLoad/Way``).
  private static let broadcast = [DHCPServerKind.interface]
  private static let relayed = ["\(clientAddress)", "\(DHCPServerKind.address)"]

  private func load(
    _ way: [String], _ rate: Double, clients: Int, machines: Int, _ cable: Cable
  ) async throws -> DHCPLoad.Result {
    let answer = try await cable.client.command(
      [try Self.program(), "dhcp-load"] + way + ["\(rate)", "\(clients)", "\(machines)"]
    ).run(timeout: .seconds(120)).check()
    return try JSONDecoder().decode(DHCPLoad.Result.self, from: Data(answer.output.utf8))
  }

  private static func numbers(_ label: String, _ output: String) -> [Double] {
    output.split(separator: "\n").filter { $0.hasPrefix(label) }.compactMap { line in
      Double(line.dropFirst(label.count).trimmingCharacters(in: .whitespaces))
    }
  }

  // MARK: Rows

  private static func rows(_ figures: [DHCPServerKind: [Figures]]) -> [Row] {
    let ours = figures[.ours] ?? []
    let kea = figures[.kea] ?? []
    let floor = figures[.floor] ?? []
    /// At least twice Kea's or 0.8 of the floor's, whichever is less: where the other is far ahead, it is no measure.
    func rates(_ name: String, _ figure: (Figures) -> Double) -> [Row] {
      var rows = [(kea, DHCPServerKind.kea, 2.0), (floor, .floor, 0.8)].map { theirs, kind, goal in
        Row(
          name: "DHCP, \(name)", unit: "exchanges/s", ours: ours.map(figure), theirs: theirs.map(figure),
          peer: kind.rawValue, goal: goal, isMoreBetter: true)
      }
      let limits = rows.map { $0.theirFigure * ($0.goal ?? 0) }
      rows[limits[0] < limits[1] ? 1 : 0].goal = nil
      return rows
    }
    func row(
      _ name: String, _ unit: String, _ theirs: [Double], _ peer: String, _ goal: Double?, _ figure: (Figures) -> Double
    ) -> Row {
      Row(name: "DHCP, " + name, unit: unit, ours: ours.map(figure), theirs: theirs, peer: peer, goal: goal)
    }
    let keaName = DHCPServerKind.kea.rawValue
    func times(_ load: String, _ figure: @escaping (Figures) -> AnswerTime) -> [Row] {
      let name = "p99 from REQUEST to ACK, \(load)"
      let time: (Figures) -> Double = { figure($0).milliseconds }
      let stillness: (Figures) -> Double = { figure($0).stillness }
      return [
        row(name, "ms", [2], "limit", 1, time), row(name, "ms", kea.map(time), keaName, nil, time),
        row(name, "ms", floor.map(time), DHCPServerKind.floor.rawValue, nil, time),
        row("the machine itself stood still meanwhile", "%", kea.map(stillness), keaName, nil, stillness),
      ]
    }
    let loads =
      rates("relayed (perfdhcp)", \.perfdhcp) + rates("relayed", \.relayed) + rates("broadcast", \.broadcast)
      + times("relayed at half of our rate (perfdhcp)", \.halfRelayed)
      + times("at half of our broadcast rate", \.halfBroadcast)
    return loads + [
      row(
        "\(avalanche) clients at once, until the last has its lease", "s", kea.map(\.avalanche), keaName, 0.5,
        \.avalanche),
      row("memory with \(leases) leases", "MB", [150], "limit", 1) { $0.resident / 1e6 },
      row("memory with \(leases) leases", "MB", kea.map { $0.resident / 1e6 }, keaName, nil) { $0.resident / 1e6 },
    ]
  }
}
