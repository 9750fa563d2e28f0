import Foundation
import Glibc
import Lab
import NetworkTypes

/// Delivery of blobs over HTTP: `perseid serve` as it is shipped beside nginx with sendfile, on a cable between two
/// namespaces, with a client that throws away what it gets, so that it costs the servers as little as can be.
struct HTTPComparison {
  let rounds: Int

  private static let address = IPv4Address(10, 79, 0, 1)
  /// Bytes of the file, and of all downloads together, whatever their number.
  private static let fileBytes = 256 << 20
  private static let totalBytes = 4 << 30
  private static let connections = [1, 16, 64]

  private enum Kind: String, CaseIterable {
    case ours = "Perseid"
    case nginx
  }

  private struct Figures {
    var seconds: Double
    /// Seconds of processors that the server used.
    var processor: Double
  }

  func run(_ progress: @Sendable (String) -> Void) async throws -> [Row] {
    let root = try ScratchDirectory.make()
    defer { ScratchDirectory.remove(root) }
    return try await NetworkNamespace.with("http-server") { server in
      try await NetworkNamespace.with("http-client") { client in
        try await server.connect("eth1", to: client, "eth1")
        try await server.configure("eth1", address: Self.address, prefixLength: 24)
        try await client.configure("eth1", address: IPv4Address(10, 79, 0, 2), prefixLength: 24)
        var figures: [Int: [Kind: [Figures]]] = [:]
        for round in 1...rounds {
          // In turns, so that neither always has the warmer machine.
          for kind in round.isMultiple(of: 2) ? Kind.allCases.reversed() : Kind.allCases {
            for (count, figure) in try await measure(kind, root, server, client) {
              figures[count, default: [:]][kind, default: []].append(figure)
              let rate = Int(Double(Self.totalBytes) / figure.seconds / 1e6)
              progress(
                "HTTP: \(count) downloads: \(kind.rawValue) \(rate) MB/s, "
                  + "\(rounded(figure.processor)) s of processor")
            }
          }
        }
        return Self.connections.flatMap { Self.rows($0, figures[$0] ?? [:]) }
      }
    }
  }

  private func measure(
    _ kind: Kind, _ root: String, _ server: NetworkNamespace, _ client: NetworkNamespace
  ) async throws -> [(Int, Figures)] {
    let (process, port, path) = try await start(kind, root + "/\(kind.rawValue)", server)
    do {
      let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
      var measured: [(Int, Figures)] = []
      // The first is for the page cache, and for what either server does once.
      for (number, count) in ([4] + Self.connections).enumerated() {
        let downloads = number == 0 ? 4 : Self.totalBytes / Self.fileBytes
        let before = Self.processorSeconds(process.pid)
        var command = client.command()
        command.arguments = [program, "http-client", "\(Self.address)", "\(port)", path, "\(count)", "\(downloads)"]
        let answer = try await command.run(timeout: .seconds(300)).check()
        let result = try JSONDecoder().decode(HTTPClient.Result.self, from: Data(answer.output.utf8))
        guard result.bytes == Int64(downloads) * Int64(Self.fileBytes) else {
          throw LabError("\(kind.rawValue) sent \(result.bytes) bytes")
        }
        let processor = Self.processorSeconds(process.pid) - before
        if number > 0 { measured.append((count, Figures(seconds: result.seconds, processor: processor))) }
      }
      await process.stop()
      return measured
    } catch {
      await process.stop()
      throw LabError("\(kind.rawValue): \(error)\n\(process.log.tail(10))")
    }
  }

  /// - Returns: The process, its port, and the path of the file.
  private func start(
    _ kind: Kind, _ directory: String, _ server: NetworkNamespace
  ) async throws -> (RunningProcess, Int, String) {
    try? FileManager.default.removeItem(atPath: directory)
    let name = String(repeating: "5a", count: 32)
    let blobs = directory + "/blobs/sha256"
    try FileManager.default.createDirectory(atPath: blobs, withIntermediateDirectories: true)
    try Self.makeFile(blobs + "/" + name)
    switch kind {
    case .ours:
      let file = directory + "/perseid.yaml"
      try "network: { interface: eth1 }\npaths: { state: \(directory) }\n"
        .write(toFile: file, atomically: true, encoding: .utf8)
      let process = try RunningProcess(Command(Appliance.executable, "--config", file, "serve").in(server))
      try await process.log.line(containing: "The appliance is ready", within: .seconds(60))
      return (process, 9870, "/blobs/sha256/" + name)
    case .nginx:
      try """
      daemon off;
      worker_processes auto;
      pid \(directory)/nginx.pid;
      error_log stderr notice;
      user root;
      events { worker_connections 1024; }
      http {
        access_log off;
        sendfile on;
        tcp_nopush on;
        keepalive_requests 100000;
        client_body_temp_path \(directory)/body;
        proxy_temp_path \(directory)/proxy;
        fastcgi_temp_path \(directory)/fastcgi;
        uwsgi_temp_path \(directory)/uwsgi;
        scgi_temp_path \(directory)/scgi;
        server { listen 80 backlog=1024; root \(directory); }
      }
      """.write(toFile: directory + "/nginx.conf", atomically: true, encoding: .utf8)
      let process = try RunningProcess(server.command("nginx", "-e", "stderr", "-c", directory + "/nginx.conf"))
      try await process.log.line(containing: "start worker process ", within: .seconds(20))
      return (process, 80, "/blobs/sha256/" + name)
    }
  }

  /// Of a process and of its children, which is where nginx works.
  private static func processorSeconds(_ pid: Int32) -> Double {
    let children = (try? String(contentsOfFile: "/proc/\(pid)/task/\(pid)/children", encoding: .utf8)) ?? ""
    return children.split(separator: " ").compactMap { Int32($0) }
      .reduce(ServerProcess.processorSeconds(pid)) { $0 + ServerProcess.processorSeconds($1) }
  }

  private static func makeFile(_ path: String) throws {
    let file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
    guard file >= 0 else { throw LabError("\(path) cannot be made") }
    defer { close(file) }
    let piece = (0..<(1 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
    for _ in 0..<(fileBytes >> 20) {
      guard write(file, piece, piece.count) == piece.count else { throw LabError("\(path) cannot be written") }
    }
  }

  private static func rows(_ count: Int, _ figures: [Kind: [Figures]]) -> [Row] {
    let (ours, theirs) = (figures[.ours] ?? [], figures[.nginx] ?? [])
    let name = "HTTP: \(count) download\(count > 1 ? "s" : "")"
    let gigabytes = Double(totalBytes) / 1e9
    let gibibytes = Double(totalBytes) / Double(1 << 30)
    return [
      Row(
        name: name, unit: "GB/s", ours: ours.map { gigabytes / $0.seconds },
        theirs: theirs.map { gigabytes / $0.seconds },
        peer: "nginx", goal: 1, isMoreBetter: true),
      Row(
        name: name + ", processor", unit: "s/GiB", ours: ours.map { $0.processor / gibibytes },
        theirs: theirs.map { $0.processor / gibibytes }, peer: "nginx", goal: 1),
    ]
  }
}
