import Foundation
import Glibc
import NetworkTypes
import Testing

@testable import TFTP

/// Files that their owner renames, rewrites and cuts short while they are sent.
@Suite(.timeLimit(.minutes(5)))
struct ChangingFileTests {
  /// One directory of files that may change.
  private final class Directory: ContentSource {
    let path = FileManager.default.temporaryDirectory.appending(path: "tftp-\(UUID().uuidString)").path

    init() throws {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit {
      try? FileManager.default.removeItem(atPath: path)
    }

    func content(named name: String, for client: IPv4Address, at server: IPv4Address) async -> ContentAnswer {
      let descriptor = open(path + "/" + name, O_RDONLY | O_CLOEXEC)
      return OpenFile(descriptor: descriptor).map { .file($0) } ?? .notFound("\(name) is not here")
    }

    func write(_ bytes: [UInt8], to name: String) throws {
      try Data(bytes).write(to: URL(filePath: path + "/" + name))
    }
  }

  private let directory: Directory
  private let bytes = pattern(300_000)

  init() throws {
    directory = try Directory()
    try directory.write(bytes, to: "file")
  }

  /// Asks for the file and takes its first window, `change`s it, and acknowledges the window.
  /// - Returns: The packet that comes next.
  private func packet(
    window: Int, afterwards change: @escaping @Sendable (String) throws -> Void
  ) async throws -> (packet: Packet?, log: [TransferEvent]) {
    try await withServer(source: directory) { [directory] port, log in
      let client = RawClient()
      client.send(RawClient.request("file", options: [("windowsize", "\(window)")]), to: port)
      guard let transferPort = await client.receive()?.port else { return (nil, log.events) }
      client.send(Packet.acknowledgement(block: 0).bytes, to: transferPort)
      for _ in 0..<window { _ = await client.receive() }
      try change(directory.path + "/file")
      client.send(Packet.acknowledgement(block: UInt16(window)).bytes, to: transferPort)
      // A slow test gets blocks of the first window again that it has.
      var packet = await client.receive()?.packet
      while case .data(let block, _) = packet, block <= UInt16(window) { packet = await client.receive()?.packet }
      if case .error = packet { _ = await log.first { if case .failed = $0.kind { true } else { false } } }
      return (packet, log.events)
    }
  }

  private static let changed = Packet.error(
    .undefined, text: "the file was changed while it was being sent; ask again")

  @Test(arguments: [0, 1, 511, 512, 300_000], [1, 16, 64])
  func aFileArrivesWithAllItsBytes(size: Int, window: Int) async throws {
    try directory.write(Array(bytes[..<size]), to: "other")
    try await withServer(source: directory) { [bytes] port, log in
      for blockSize in [512, 1468, 100] {
        let client = RawClient()
        let options = [("windowsize", "\(window)"), ("blksize", "\(blockSize)")]
        let isRight = await client.read("other", options: options, from: port) == Array(bytes[..<size])
        #expect(isRight, "blocks of \(blockSize)")
      }
    }
  }

  @Test func aFileThatIsReplacedByRenamingIsSentAsItWas() async throws {
    let other = pattern(1000)
    try await withServer(source: directory) { [directory, bytes] port, log in
      let client = RawClient()
      client.send(RawClient.request("file"), to: port)
      guard case (.data(1, var received)?, let transferPort)? = await client.receive() else {
        Issue.record("block 1 was to come")
        return
      }
      try directory.write(other, to: "new")
      #expect(rename(directory.path + "/new", directory.path + "/file") == 0)
      var block: UInt16 = 1
      while received.count == Int(block) * 512 {
        client.send(Packet.acknowledgement(block: block).bytes, to: transferPort)
        block += 1
        // A slow test gets blocks again that it has.
        var next = await client.receive()?.packet
        while case .data(block - 1, _) = next { next = await client.receive()?.packet }
        guard case .data(block, let payload)? = next else { break }
        received += payload
      }
      let isRight = received == bytes
      #expect(isRight, "\(received.count) bytes")
      let second = RawClient()
      #expect(await second.read("file", from: port) == other)
    }
  }

  @Test(arguments: [1, 8])
  func aFileThatIsRewrittenInPlaceEndsTheTransferInsteadOfArrivingHalfOldAndHalfNew(window: Int) async throws {
    let (packet, log) = try await packet(window: window) { path in
      let descriptor = open(path, O_WRONLY)
      defer { close(descriptor) }
      _ = pwrite(descriptor, [1, 2, 3], 3, 200_000)
    }
    #expect(packet == Self.changed)
    #expect(log.last?.kind == .failed("the file was changed while it was being sent; ask again"))
  }

  @Test(arguments: [1, 8], [0, 5000, 299_999])
  func aFileThatIsCutShortEndsTheTransfer(window: Int, length: Int) async throws {
    let (packet, _) = try await packet(window: window) { path in _ = truncate(path, off_t(length)) }
    #expect(packet == Self.changed)
  }

  @Test func whatIsNoRegularFileIsNotOpened() throws {
    #expect(OpenFile(descriptor: open("/dev/null", O_RDONLY)) == nil)
    #expect(OpenFile(descriptor: open("/", O_RDONLY)) == nil)
    #expect(OpenFile(descriptor: -1) == nil)
  }
}
