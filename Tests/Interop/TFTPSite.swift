import Foundation
import Lab
import Logging
import NetworkTypes
import TFTP
import Testing

/// A client that people have, and the command by which it reads one file.
enum TFTPClient: String, CaseIterable, Sendable {
  case tftpHPA, atftp, atftpWindow16, atftpBlocks1432, curl, curlBlocks1468, busybox, busyboxBlocks1468

  func command(_ name: String, to path: String, port: Int) -> Command {
    switch self {
    case .tftpHPA: Command("tftp", "-m", "binary", "127.0.0.1", "\(port)", "-c", "get", name, path)
    case .atftp: atftp([], name, path, port)
    case .atftpWindow16: atftp(["--option", "windowsize 16", "--option", "blksize 1468"], name, path, port)
    case .atftpBlocks1432: atftp(["--option", "blksize 1432", "--option", "tsize 0"], name, path, port)
    case .curl: Command("curl", "-sS", "-o", path, "tftp://127.0.0.1:\(port)/\(name)")
    case .curlBlocks1468:
      Command("curl", "-sS", "--tftp-blksize", "1468", "-o", path, "tftp://127.0.0.1:\(port)/\(name)")
    case .busybox: Command("busybox", "tftp", "-g", "-r", name, "-l", path, "127.0.0.1", "\(port)")
    case .busyboxBlocks1468:
      Command("busybox", "tftp", "-b", "1468", "-g", "-r", name, "-l", path, "127.0.0.1", "\(port)")
    }
  }

  private func atftp(_ options: [String], _ name: String, _ path: String, _ port: Int) -> Command {
    Command(["atftp"] + options + ["-g", "-r", name, "-l", path, "127.0.0.1", "\(port)"])
  }
}

/// The real server, with files of all sizes, one of them on disk in two parts.
struct TFTPSite: Sendable {
  static let sizes = [0, 1, 511, 512, 513, 5_000_000]

  let port: Int
  let directory: String
  let files: [String: [UInt8]]
  let log: CountingLog

  func bytes(_ path: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(filePath: path))) }

  /// Serves for the time of `body`.
  /// - Parameters:
  ///   - address: An address of this process's network namespace; its clients are in the same /8.
  ///   - port: 0: any free one.
  ///   - more: Files besides.
  static func with(
    address: IPv4Address = IPv4Address(127, 0, 0, 1), port: Int = 0, more: [String: [UInt8]] = [:],
    _ body: @escaping @Sendable (TFTPSite) async throws -> Void
  ) async throws {
    let directory = FileManager.default.temporaryDirectory.appending(path: "tftp-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    var files = more
    files["text"] = Array("one\ntwo\rthree\r\nfour\n".utf8)
    for size in sizes { files["file-\(size)"] = pattern(size) }
    var contents = files.mapValues { Content(parts: [.bytes($0)]) }
    let large = files["file-5000000"] ?? []
    let onDisk = directory + "/content"
    try Data(large[..<3_000_001]).write(to: URL(filePath: onDisk))
    contents["file-5000000"] = Content(
      parts: [.file(path: onDisk, size: 3_000_001), .bytes(Array(large[3_000_001...]))])

    let log = CountingLog()
    let subnet = try #require(IPv4Subnet(containing: address, prefixLength: 8))
    let server = try TFTPServer(
      ServerConfiguration(address: address, port: port, subnets: [subnet]),
      source: NamedContent(contents: contents), observer: log,
      logger: Logger(label: "tftp.test", factory: { _ in SwiftLogNoOpLogHandler() }))
    let site = TFTPSite(port: server.port, directory: directory, files: files, log: log)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await server.run() }
      try await body(site)
      group.cancelAll()
      try await group.waitForAll()
    }
  }

  /// Bytes that differ from block to block.
  static func pattern(_ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 8 ^ $0 >> 16) }
  }
}

private struct NamedContent: ContentSource {
  var contents: [String: Content]

  func content(named name: String, for client: IPv4Address, at server: IPv4Address) async -> ContentAnswer {
    contents[name].map { .content($0) } ?? .notFound("\(name) is not here")
  }
}

/// Counts events as they come.
actor CountingLog: TransferObserver {
  enum Kind { case started, progress, finished, probed, failed, refused }

  private var counts: [Kind: Int] = [:]
  private let news: AsyncStream<Kind>
  private let teller: AsyncStream<Kind>.Continuation

  init() {
    (news, teller) = AsyncStream.makeStream(of: Kind.self)
  }

  nonisolated func observed(_ event: TransferEvent) {
    switch event.kind {
    case .started: teller.yield(.started)
    case .progress: teller.yield(.progress)
    case .finished: teller.yield(.finished)
    case .probed: teller.yield(.probed)
    case .failed: teller.yield(.failed)
    case .refused: teller.yield(.refused)
    }
  }

  /// How many events of this kind there were, once there are `least`; the suite's time limit ends the wait.
  func count(of kind: Kind, atLeast least: Int) async -> Int {
    var iterator = news.makeAsyncIterator()
    while counts[kind, default: 0] < least, let next = await iterator.next(isolation: self) {
      counts[next, default: 0] += 1
    }
    return counts[kind, default: 0]
  }
}
