import Foundation
import Glibc
import Logging
import NetworkTypes
import Synchronization

@testable import TFTP

/// Content by name.
struct MapSource: ContentSource {
  var files: [String: Content]
  /// Names that are refused.
  var refused: Set<String> = []

  func content(named name: String, for client: IPv4Address, at server: IPv4Address) async -> ContentAnswer {
    if refused.contains(name) { return .refused("\(client) may not have \(name)") }
    return files[name].map { .content($0) } ?? .notFound("\(name) is not here")
  }
}

/// Keeps events, and lets a test wait for one.
final class EventLog: TransferObserver {
  private struct State {
    var events: [TransferEvent] = []
    var waiters: [AsyncStream<Void>.Continuation] = []
  }

  private let state = Mutex(State())

  var events: [TransferEvent] { state.withLock { $0.events } }

  func observed(_ event: TransferEvent) {
    let waiters = state.withLock { state in
      state.events.append(event)
      return state.waiters
    }
    for waiter in waiters { waiter.yield() }
  }

  /// The first event of this kind, awaited for `seconds` at most.
  func first(
    within seconds: Int = 60, where matches: @escaping @Sendable (TransferEvent) -> Bool
  ) async -> TransferEvent? {
    let (news, continuation) = AsyncStream.makeStream(of: Void.self)
    state.withLock { $0.waiters.append(continuation) }
    continuation.yield()
    return await withTaskGroup(of: TransferEvent?.self) { group in
      group.addTask {
        for await _ in news {
          if let event = self.events.first(where: matches) { return event }
        }
        return nil
      }
      group.addTask {
        try? await Task.sleep(for: .seconds(seconds))
        return nil
      }
      defer { group.cancelAll() }
      return await group.next() ?? nil
    }
  }
}

extension ServerConfiguration {
  /// Any free port, clients on loopback.
  static func loopback(
    subnet: String = "127.0.0.0/8", singlePort: Bool = false, maximumTransfers: Int = 4096
  ) -> ServerConfiguration {
    ServerConfiguration(
      port: 0, usesSinglePort: singlePort, subnets: [IPv4Subnet(subnet)!], maximumTransfers: maximumTransfers)
  }
}

/// A server on loopback for as long as `body` runs.
func withServer<Result: Sendable>(
  _ files: [String: Content] = [:], refused: Set<String> = [],
  source: (any ContentSource)? = nil, configuration: ServerConfiguration = .loopback(),
  _ body: @escaping @Sendable (_ port: Int, _ log: EventLog) async throws -> Result
) async throws -> Result {
  let log = EventLog()
  let server = try TFTPServer(
    configuration, source: source ?? MapSource(files: files, refused: refused), observer: log,
    logger: Logger(label: "tftp.test", factory: { _ in SwiftLogNoOpLogHandler() }))
  return try await withThrowingTaskGroup(of: Result?.self) { group in
    group.addTask {
      try await server.run()
      return nil
    }
    group.addTask { try await body(server.port, log) }
    while let result = try await group.next() {
      if let result {
        group.cancelAll()
        try await group.waitForAll()
        return result
      }
    }
    throw CancellationError()
  }
}

/// A client's socket on loopback, for packets no real client would send.
struct RawClient: ~Copyable {
  let descriptor: Int32

  /// - Parameter port: 0: any free one.
  init(address: IPv4Address = IPv4Address(127, 0, 0, 1), port: Int = 0) {
    let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
    self.descriptor = descriptor
    _ = Self.onceThePortIsFree { -Self.bind(descriptor, to: address, port: port) }
    var size: Int32 = 4 << 20
    setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, 4)
  }

  deinit {
    close(descriptor)
  }

  /// A program that another test starts has copies of this test's sockets until it runs, and holds their ports as long.
  /// - Parameter attempt: Answers with the negative of the system's error number where it fails.
  static func onceThePortIsFree(_ attempt: () -> Int32) -> Int32 {
    let end = ContinuousClock.now + .seconds(60)
    while true {
      let result = attempt()
      guard result == -EADDRINUSE, .now < end else { return result }
      sched_yield()
    }
  }

  /// - Returns: 0, or the system's error number.
  static func bind(_ descriptor: Int32, to address: IPv4Address, port: Int) -> Int32 {
    var name = Self.name(address, port)
    return withUnsafePointer(to: &name) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Glibc.bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0 ? 0 : errno
      }
    }
  }

  /// Whether a block comes, and before it at most those again that came before: on a busy machine an answer can come too
  /// late for the server.
  func receive(block: UInt16) async -> Bool {
    while let (packet, _) = await receive() {
      guard case .data(let number, _) = packet, number <= block else { return false }
      if number == block { return true }
    }
    return false
  }

  var port: Int {
    var name = sockaddr_in()
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    withUnsafeMutablePointer(to: &name) {
      _ = $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
    }
    return Int(UInt16(bigEndian: name.sin_port))
  }

  private static func name(_ address: IPv4Address, _ port: Int) -> sockaddr_in {
    var name = sockaddr_in()
    name.sin_family = sa_family_t(AF_INET)
    name.sin_port = UInt16(port).bigEndian
    name.sin_addr.s_addr = address.rawValue.bigEndian
    return name
  }

  func send(_ packet: [UInt8], to port: Int) {
    var name = Self.name(IPv4Address(127, 0, 0, 1), port)
    withUnsafePointer(to: &name) {
      _ = $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        sendto(descriptor, packet, packet.count, 0, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
  }

  /// The next packet and the port it came from; `nil` where none comes within `milliseconds`.
  func receive(within milliseconds: Int32 = 60_000) async -> (packet: Packet?, port: Int)? {
    guard await Self.isReadable(descriptor, within: milliseconds) else { return nil }
    var buffer = [UInt8](repeating: 0, count: 65536)
    var name = sockaddr_in()
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let count = withUnsafeMutablePointer(to: &name) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        recvfrom(descriptor, &buffer, buffer.count, 0, $0, &length)
      }
    }
    guard count >= 0 else { return nil }
    return (Packet(parsing: Array(buffer[..<count])), Int(UInt16(bigEndian: name.sin_port)))
  }

  /// The sizes of all packets that are here already.
  func receiveAll() -> [Int] {
    var sizes: [Int] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    while true {
      let count = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
      guard count >= 0 else { return sizes }
      sizes.append(count)
    }
  }

  /// Waits on a thread of its own: those that run tasks are few, and the server needs them.
  private static func isReadable(_ descriptor: Int32, within milliseconds: Int32) async -> Bool {
    var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    if poll(&waiting, 1, 0) == 1 { return true }
    guard milliseconds > 0 else { return false }
    return await withCheckedContinuation { continuation in
      Thread.detachNewThread {
        var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        continuation.resume(returning: poll(&waiting, 1, milliseconds) == 1)
      }
    }
  }

  /// Reads a whole file as RFC 1350 and 7440 want it; `nil` where the server falls silent or sends an ERROR.
  func read(_ name: String, options: [(String, String)] = [], from port: Int) async -> [UInt8]? {
    send(Self.request(name, options: options), to: port)
    var content: [UInt8] = []
    var expected: UInt16 = 1
    var (blockSize, window, inWindow) = (512, 1, 0)
    while let (packet, source) = await receive() {
      switch packet {
      case .optionAcknowledgement(let accepted):
        for option in accepted {
          let value = Int(String(decoding: option.value, as: UTF8.self)) ?? 0
          switch String(decoding: option.name, as: UTF8.self) {
          case "blksize": blockSize = value
          case "windowsize": window = value
          default: break
          }
        }
        send(Packet.acknowledgement(block: 0).bytes, to: source)
      case .data(expected, let payload):
        content += payload
        inWindow += 1
        if payload.count < blockSize || inWindow == window {
          send(Packet.acknowledgement(block: expected).bytes, to: source)
          inWindow = 0
        }
        if payload.count < blockSize { return content }
        expected &+= 1
      case .data: continue
      default: return nil
      }
    }
    return nil
  }

  static func request(_ name: String, options: [(String, String)] = []) -> [UInt8] {
    Request(
      operation: .read, name: Array(name.utf8), mode: .octet,
      options: options.map { Request.Option(name: Array($0.0.utf8), value: Array($0.1.utf8)) }
    ).bytes
  }
}

/// Bytes that differ from block to block.
func pattern(_ count: Int) -> [UInt8] {
  (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 8 ^ $0 >> 16) }
}
