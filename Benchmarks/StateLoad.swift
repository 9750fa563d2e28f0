import Foundation
import Glibc
import Lab
import NetworkTypes
import Synchronization

/// Simulated nodes that report a state and read their plan: so many reports a second, whatever the answers take.
struct StateLoad {
  let address: IPv4Address
  let port: UInt16
  /// Reports a second, for so many seconds, of so many nodes in turn.
  let rate: Int
  let seconds: Int
  let nodes: Int

  /// What came of it.
  struct Result: Codable {
    /// From the moment a report was due until its plan was there: milliseconds.
    var median = 0.0
    var p99 = 0.0
    var answered = 0
    var failed = 0
    /// Of one plan.
    var bytes = 0
  }

  /// Nodes keep their connections.
  private static let connections = 32

  /// The hardware address of a simulated node.
  static func mac(_ number: Int) -> MACAddress { MACAddress(rawValue: 0x5254_0100_0000 + UInt64(number)) }

  func run() throws -> Result {
    let outcomes = Mutex<(milliseconds: [Double], failed: Int, bytes: Int)>(([], 0, 0))
    let count = rate * seconds
    let start = ContinuousClock.now + .milliseconds(200)
    let group = DispatchGroup()
    for thread in 0..<Self.connections {
      group.enter()
      Thread.detachNewThread {
        var connection: Connection?
        var milliseconds: [Double] = []
        var failed = 0
        var bytes = 0
        for number in stride(from: thread, to: count, by: Self.connections) {
          let due = start + .seconds(Double(number) / Double(rate))
          let wait = due - .now
          if wait > .zero { Thread.sleep(forTimeInterval: wait.seconds) }
          do {
            let used = try connection ?? Connection(address, port)
            connection = used
            bytes = try used.post("/v1/state", body(number % nodes))
            milliseconds.append((ContinuousClock.now - due).seconds * 1000)
          } catch {
            connection = nil
            failed += 1
          }
        }
        outcomes.withLock { outcomes in
          outcomes.milliseconds += milliseconds
          outcomes.failed += failed
          outcomes.bytes = max(outcomes.bytes, bytes)
        }
        group.leave()
      }
    }
    group.wait()
    let (unsorted, failed, bytes) = outcomes.withLock { $0 }
    let sorted = unsorted.sorted()
    guard let slowest = sorted.dropFirst(sorted.count * 99 / 100).first ?? sorted.last,
      let middle = sorted.dropFirst(sorted.count / 2).first
    else { throw LabError("no report was answered by \(address):\(port)") }
    return Result(median: middle, p99: slowest, answered: sorted.count, failed: failed, bytes: bytes)
  }

  private func body(_ number: Int) -> [UInt8] {
    Array(
      """
      {"version":1,"state":"ready","hardwareAddresses":["\(Self.mac(number))"],"facts":{"kernelRelease":"6.1.0",\
      "memoryBytes":68719476736,"processors":64,"uptimeSeconds":1000}}
      """.utf8)
  }
}

/// One connection that is kept from one request to the next.
private final class Connection {
  private let descriptor: Int32
  private var buffer = [UInt8](repeating: 0, count: 65536)

  init(_ address: IPv4Address, _ port: UInt16) throws {
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var peer = sockaddr_in()
    peer.sin_family = sa_family_t(AF_INET)
    peer.sin_port = port.bigEndian
    peer.sin_addr.s_addr = address.rawValue.bigEndian
    let descriptor = descriptor
    let result = withUnsafePointer(to: &peer) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard result == 0 else {
      throw LabError("no connection to \(address):\(port): \(String(cString: strerror(errno)))")
    }
    var on: Int32 = 1
    setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
    var limit = timeval(tv_sec: 10, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
  }

  deinit { close(descriptor) }

  /// - Returns: Bytes of the answer's body.
  func post(_ path: String, _ body: [UInt8]) throws -> Int {
    let head =
      "POST \(path) HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: \(body.count)\r\n\r\n"
    let request = Array(head.utf8) + body
    guard send(descriptor, request, request.count, Int32(MSG_NOSIGNAL)) == request.count else {
      throw LabError("a report was not sent")
    }
    var answer: [UInt8] = []
    while true {
      let count = recv(descriptor, &buffer, buffer.count, 0)
      guard count > 0 else { throw LabError("a report was not answered") }
      answer += buffer[..<count]
      guard let end = answer.firstRange(of: Array("\r\n\r\n".utf8)) else { continue }
      let fields = String(decoding: answer[..<end.lowerBound], as: UTF8.self).lowercased()
      guard fields.hasPrefix("http/1.1 200"), let field = fields.firstRange(of: "content-length: "),
        let length = Int(fields[field.upperBound...].prefix { $0.isNumber })
      else { throw LabError("a report was answered with \(fields.prefix(40))") }
      if answer.count >= end.upperBound + length { return length }
    }
  }
}
