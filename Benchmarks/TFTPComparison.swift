import Foundation
import Glibc
import Lab
import NetworkTypes

/// TFTP servers side by side on a cable between two namespaces, with one fast client that checks every byte.
struct TFTPComparison {
  let rounds: Int

  /// One way to load a server; each moves the same bytes.
  private struct Load: Hashable {
    var clients: Int
    var window: Int
    /// The largest ratios that we accept, of times and of processor times.
    var timeGoal: Double?
    var processorGoal: Double?

    var name: String { "TFTP: \(clients) client\(clients > 1 ? "s" : ""), windowsize \(window)" }
    var bytesEach: Int { TFTPComparison.bytes / clients }
  }

  private static let bytes = 256 << 20
  private static let loads = [
    Load(clients: 1, window: 1, timeGoal: 0.91, processorGoal: 1),
    Load(clients: 1, window: 16, timeGoal: 0.5, processorGoal: 0.5),
    Load(clients: 1, window: 64, timeGoal: 0.5, processorGoal: 0.5),
    Load(clients: 64, window: 1, timeGoal: 0.5),
    Load(clients: 64, window: 16, timeGoal: 0.5, processorGoal: 0.5),
    Load(clients: 1000, window: 1),
  ]
  static let address = IPv4Address(10, 78, 0, 1)

  private struct Figures {
    var result: TFTPClient.Result
    /// Seconds of processors that the server used.
    var processor: Double
    /// Bytes of memory of its own that the server had at most: pages of files that it has mapped are the system's cache.
    var memory: Double
  }

  func run(_ progress: @Sendable (String) -> Void) async throws -> [Row] {
    let peers = Cache.directory + "/tftp-peers"
    guard FileManager.default.fileExists(atPath: peers) else {
      throw LabError("\(peers) is missing: make it with `Tests/Lab/unpack-packages \(peers) tftpd-hpa atftpd`")
    }
    let awake = AwakeProcessors()
    if awake == nil {
      progress("TFTP: /dev/cpu_dma_latency is closed to us: times include the waking of processors between packets")
    }
    defer { _ = awake }
    let root = try ScratchDirectory.make()
    defer { ScratchDirectory.remove(root) }
    for load in Set(Self.loads.map(\.clients)) { try Self.makeFile(root + "/\(load)", bytes: Self.bytes / load) }
    return try await NetworkNamespace.with("tftp-server") { server in
      try await NetworkNamespace.with("tftp-client") { client in
        try await server.connect("eth1", to: client, "eth1")
        try await server.configure("eth1", address: Self.address, prefixLength: 24)
        try await client.configure("eth1", address: IPv4Address(10, 78, 0, 2), prefixLength: 24)
        // Addresses for many clients, behind one neighbour: whom no server waits for, and whose table is not filled.
        try await client.ip("route", "add", "local", "10.78.16.0/20", "dev", "lo")
        try await server.ip("route", "add", "10.78.16.0/20", "via", "10.78.0.2")
        var rows: [Row] = []
        for load in Self.loads {
          var figures: [TFTPServerKind: [Figures]] = [:]
          for _ in 1...rounds {
            for kind in TFTPServerKind.allCases where load.window == 1 || kind.hasWindows {
              let figure = try await measure(kind, load, root, peers, server, client)
              let rate = Double(figure.result.finished * load.bytesEach) / figure.result.seconds / 1e6
              progress(
                "\(load.name): \(kind.rawValue) \(Int(rate)) MB/s, \(rounded(figure.processor)) s of processor, "
                  + "\(figure.result.finished) finished, first byte after \(rounded(figure.result.firstByteSeconds)) s, "
                  + "\(figure.result.resent) packets sent again, \(Int(figure.memory / 1e6)) MB")
              figures[kind, default: []].append(figure)
            }
          }
          rows += Self.rows(load, figures)
        }
        rows += try await floodRows(root, peers, server, client, progress)
        return rows
      }
    }
  }

  /// Bytes of which no two blocks are the same.
  private static func makeFile(_ path: String, bytes: Int) throws {
    var words = [UInt64](repeating: 0, count: bytes / 8)
    var state: UInt64 = 0x9E37_79B9_7F4A_7C15
    for index in words.indices {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      words[index] = state ^ (state >> 29)
    }
    try words.withUnsafeBytes { try Data($0).write(to: URL(fileURLWithPath: path)) }
  }

  /// Runs a server for the time of `body`.
  private func withServer<Result>(
    _ kind: TFTPServerKind, _ root: String, _ peers: String, _ server: NetworkNamespace,
    _ body: (Int32) async throws -> Result
  ) async throws -> Result {
    var command = Command(try kind.command(root: root, address: Self.address, peers: peers))
    command.namespace = server
    let process = try RunningProcess(command)
    do {
      try await Self.waitUntilListening(server, process)
      let result = try await body(process.pid)
      await process.stop()
      return result
    } catch {
      await process.stop()
      throw LabError("\(kind.rawValue): \(error)\n\(process.log.tail(10))")
    }
  }

  /// Runs this program as a client, and decodes what it prints.
  private func run<Result: Decodable>(
    _ client: NetworkNamespace, _ words: String..., as type: Result.Type = Result.self
  ) async throws -> Result {
    let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    var command = client.command()
    command.arguments = [program] + words
    let answer = try await command.run(timeout: .seconds(120)).check()
    return try JSONDecoder().decode(Result.self, from: Data(answer.output.utf8))
  }

  private func measure(
    _ kind: TFTPServerKind, _ load: Load, _ root: String, _ peers: String, _ server: NetworkNamespace,
    _ client: NetworkNamespace
  ) async throws -> Figures {
    try await withServer(kind, root, peers, server) { pid in
      let before = ServerProcess.processorSeconds(pid)
      let (result, memory) = try await ServerProcess.largestMemory(pid) {
        try await run(
          client, "tftp-client", "\(Self.address)", root + "/\(load.clients)", "\(load.clients)", "\(load.window)",
          as: TFTPClient.Result.self)
      }
      return Figures(result: result, processor: ServerProcess.processorSeconds(pid) - before, memory: memory)
    }
  }

  /// Ours against those who never answer.
  private func floodRows(
    _ root: String, _ peers: String, _ server: NetworkNamespace, _ client: NetworkNamespace,
    _ progress: @Sendable (String) -> Void
  ) async throws -> [Row] {
    let flood: TFTPFlood.Result = try await withServer(.ours, root, peers, server) { _ in
      try await run(client, "tftp-flood", "\(Self.address)", root + "/1000", "5000")
    }
    progress(
      "TFTP: never answered: \(rounded(flood.outWithOptions)) IP bytes out per byte in with a ROM's options, "
        + "\(rounded(flood.outWithoutOptions)) without; another client had its file after "
        + "\(rounded(flood.clientSeconds)) s")
    return [
      Row(
        name: "TFTP: a client, with 5,000 half-open requests", unit: "s", ours: [flood.clientSeconds], theirs: [0.5],
        peer: "limit", goal: 1),
      Row(
        name: "TFTP: never answered, a ROM's options", unit: "IP bytes out per byte in", ours: [flood.outWithOptions],
        theirs: [20], peer: "limit", goal: 1),
      // Without its headers a short request is owed more: the first block alone is 516 bytes.
      Row(
        name: "TFTP: never answered, no options", unit: "IP bytes out per byte in",
        ours: [flood.outWithoutOptions],
        theirs: [20], peer: "limit", goal: 1),
    ]
  }

  private static func waitUntilListening(_ server: NetworkNamespace, _ process: RunningProcess) async throws {
    let end = ContinuousClock.now + .seconds(10)
    while try await server.command("ss", "-Hlun", "sport = :69").run().check().output.isEmpty {
      guard process.isRunning, ContinuousClock.now < end else { throw LabError("the server does not listen") }
    }
  }

  private static func rows(_ load: Load, _ figures: [TFTPServerKind: [Figures]]) -> [Row] {
    let ours = figures[.ours] ?? []
    // A server that did not finish has no time.
    let peers = figures.filter { $0.key != .ours && $0.value.allSatisfy { $0.result.finished == load.clients } }
    func row(
      _ name: String, _ unit: String, _ goal: Double?, but excluded: TFTPServerKind? = nil,
      _ figure: (Figures) -> Double
    ) -> Row? {
      let best = peers.filter { $0.key != excluded }.min { left, right in
        left.value.map(figure).reduce(0, +) < right.value.map(figure).reduce(0, +)
      }
      return best.map {
        Row(
          name: name, unit: unit, ours: ours.map(figure), theirs: $0.value.map(figure), peer: $0.key.rawValue,
          goal: goal)
      }
    }
    let gigabytes = Double(bytes) / 1e9
    let gibibytes = Double(bytes) / Double(1 << 30)
    var rows = [
      row(load.name, "s/GB", load.timeGoal) { $0.result.seconds / gigabytes },
      // tftpd-hpa's processes end unseen, so that nobody knows what they used.
      row(load.name + ", processor", "s/GiB", load.processorGoal, but: .hpa) { $0.processor / gibibytes },
    ].compactMap { $0 }
    if load.clients >= 1000 {
      rows += [
        Row(
          name: load.name + ", unfinished", unit: "clients",
          ours: ours.map { Double(load.clients - $0.result.finished) }, theirs: [1], peer: "limit", goal: 0),
        Row(
          name: load.name + ", slowest first byte", unit: "s", ours: ours.map(\.result.firstByteSeconds), theirs: [1],
          peer: "limit", goal: 1),
        Row(
          name: load.name + ", memory", unit: "MB", ours: ours.map { $0.memory / 1e6 }, theirs: [100], peer: "limit",
          goal: 1),
      ]
    }
    return rows
  }
}
