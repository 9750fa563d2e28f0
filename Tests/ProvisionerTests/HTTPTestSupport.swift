import Foundation
import NetworkTypes
import ServiceLifecycle
import Synchronization
import TFTP
import Testing

import struct Lab.Command

@testable import Provisioner

/// Answers every request alike, and remembers the requests.
final class RecordingAPI: NodeAPI {
  private let seen = Mutex<[NodeRequest]>([])
  private let answer: @Sendable (NodeRequest) -> NodeResponse

  init(_ answer: @escaping @Sendable (NodeRequest) -> NodeResponse) {
    self.answer = answer
  }

  convenience init(_ response: NodeResponse) {
    self.init { _ in response }
  }

  var requests: [NodeRequest] { seen.withLock { $0 } }

  func respond(to request: NodeRequest) async -> NodeResponse {
    seen.withLock { $0.append(request) }
    return answer(request)
  }
}

/// Runs a server on a free port of loopback while `body` runs, then stops it gracefully.
func withServer(
  _ api: any NodeAPI, _ limits: NodeHTTPServer.Limits = .init(), body: (Int) async throws -> Void
) async throws {
  let server = NodeHTTPServer(api: api, address: IPv4Address(127, 0, 0, 1), port: 0, limits: limits, logger: silent)
  let port = try await server.start()
  let services = ServiceGroup(services: [server], logger: silent)
  try await withThrowingTaskGroup { tasks in
    tasks.addTask { try await services.run() }
    let result: Result<Void, any Error>
    do { result = .success(try await body(port)) } catch { result = .failure(error) }
    await services.triggerGracefulShutdown()
    try await tasks.waitForAll()
    try result.get()
  }
}

/// Files of one test, gone with it.
final class Files {
  let directory: URL
  private var count = 0

  init() throws {
    directory = FileManager.default.temporaryDirectory.appending(path: "perseid-http-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
  }

  deinit {
    try? FileManager.default.removeItem(at: directory)
  }

  func random(_ count: Int) throws -> [UInt8] {
    // Not one by one: that takes seconds of a thread that the server needs.
    let source = try FileHandle(forReadingFrom: URL(filePath: "/dev/urandom"))
    let bytes = [UInt8](try #require(try source.read(upToCount: count)))
    try #require(bytes.count == count)
    return bytes
  }

  func write(_ bytes: [UInt8]) throws -> String {
    count += 1
    let file = directory.appending(path: "\(count)")
    try Data(bytes).write(to: file)
    return file.path
  }

  func part(_ bytes: [UInt8]) throws -> Content.Part {
    .file(path: try write(bytes), size: bytes.count)
  }

  /// A file of zeros that takes no room.
  func sparse(_ size: Int) throws -> Content.Part {
    let path = try write([])
    try #require(truncate(path, size) == 0)
    return .file(path: path, size: size)
  }
}

struct CurlAnswer {
  var output: Data

  var text: String { String(decoding: output, as: UTF8.self) }

  /// With `-i`: the fields, and what follows them.
  var head: String {
    output.firstRange(of: Data("\r\n\r\n".utf8)).map { String(decoding: output[..<$0.upperBound], as: UTF8.self) } ?? ""
  }

  var body: Data {
    output.firstRange(of: Data("\r\n\r\n".utf8)).map { Data(output[$0.upperBound...]) } ?? output
  }

  func field(_ name: String) -> String? {
    head.split(separator: "\r\n").first { $0.hasPrefix(name + ": ") }.map { String($0.dropFirst(name.count + 2)) }
  }
}

/// Runs what waits for the network in a thread of its own: Swift's tasks and Dispatch share as many
/// threads as there are processors, and the server needs them.
func blocking<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
  try await withCheckedThrowingContinuation { continuation in
    Thread.detachNewThread { continuation.resume(with: Swift.Result { try body() }) }
  }
}

/// Runs curl with a bound of 30 seconds.
@discardableResult
func curl(_ arguments: String...) async throws -> CurlAnswer {
  try await curl(arguments)
}

@discardableResult
func curl(_ arguments: [String]) async throws -> CurlAnswer {
  let result = try await Command(["curl", "--max-time", "30"] + arguments).run(outputLimit: 256 << 20)
  return CurlAnswer(output: Data(result.outputBytes))
}

/// The server closed before it had sent all that was waited for, or sent nothing for 10 seconds.
struct Silence: Error {
  var read: Int
  var of: Int
  var reason: String
}

/// A connection of a client that does as the test says; every read is bounded to 10 seconds.
final class RawConnection: Sendable {
  private let descriptor: Int32
  private let isOpen = Atomic(true)

  init(port: Int) throws {
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var bound = timeval(tv_sec: 10, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &bound, socklen_t(MemoryLayout<timeval>.size))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    let connected = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    try #require(connected == 0)
  }

  deinit { close() }

  func close() {
    if isOpen.exchange(false, ordering: .relaxed) { Glibc.close(descriptor) }
  }

  func send(_ text: String) throws {
    let bytes = Array(text.utf8)
    try #require(Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count)
  }

  func read(_ count: Int) async throws -> [UInt8] {
    try await blocking { try self.take(count) }
  }

  private func take(_ count: Int) throws -> [UInt8] {
    var bytes: [UInt8] = []
    while bytes.count < count {
      var buffer = [UInt8](repeating: 0, count: count - bytes.count)
      let got = recv(descriptor, &buffer, buffer.count, 0)
      guard got > 0 else { throw Silence(read: bytes.count, of: count, reason: got == 0 ? "closed" : "silent") }
      bytes += buffer[..<got]
    }
    return bytes
  }

  func readHead() async throws -> String {
    try await blocking {
      var bytes: [UInt8] = []
      while !bytes.suffix(4).elementsEqual("\r\n\r\n".utf8) { bytes += try self.take(1) }
      return String(decoding: bytes, as: UTF8.self)
    }
  }

  /// What comes until the server closes.
  func readToEnd() async throws -> String {
    try await blocking {
      var bytes: [UInt8] = []
      while true {
        var buffer = [UInt8](repeating: 0, count: 65536)
        let got = recv(self.descriptor, &buffer, buffer.count, 0)
        if got == 0 || (got < 0 && errno == ECONNRESET) { return String(decoding: bytes, as: UTF8.self) }
        guard got > 0 else { throw Silence(read: bytes.count, of: .max, reason: "silent") }
        bytes += buffer[..<got]
      }
    }
  }
}
