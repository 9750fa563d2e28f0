import Foundation
import Glibc
import Lab
import NetworkTypes
import Synchronization

/// `perseid-bench http-client ADDRESS PORT PATH CONNECTIONS DOWNLOADS`: downloads one file again and again over several
/// connections at once, and throws it away in the kernel.
struct HTTPClient {
  struct Result: Codable {
    /// Of bodies.
    var bytes: Int64
    var seconds: Double
  }

  let address: IPv4Address
  let port: UInt16
  let path: String
  let connections: Int
  let downloads: Int

  func run() throws -> Result {
    let next = Atomic(0)
    let total = Atomic<Int64>(0)
    let failed = Mutex<String?>(nil)
    let start = ContinuousClock.now
    let group = DispatchGroup()
    for _ in 0..<connections {
      group.enter()
      let thread = Thread { [self] in
        defer { group.leave() }
        do {
          let socket = try connect()
          defer { close(socket) }
          while next.add(1, ordering: .relaxed).oldValue < downloads {
            total.add(try download(socket), ordering: .relaxed)
          }
        } catch {
          failed.withLock { $0 = "\(error)" }
        }
      }
      thread.start()
    }
    group.wait()
    if let reason = failed.withLock({ $0 }) { throw LabError(reason) }
    return Result(bytes: total.load(ordering: .relaxed), seconds: (ContinuousClock.now - start) / .seconds(1))
  }

  private func connect() throws -> Int32 {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = self.address.rawValue.bigEndian
    let connected = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard descriptor >= 0, connected == 0 else { throw LabError("no connection: \(String(cString: strerror(errno)))") }
    var bound = timeval(tv_sec: 60, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &bound, socklen_t(MemoryLayout<timeval>.size))
    return descriptor
  }

  /// - Returns: Bytes of the body.
  private func download(_ socket: Int32) throws -> Int64 {
    let request = Array("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
    guard send(socket, request, request.count, Int32(MSG_NOSIGNAL)) == request.count else {
      throw LabError("the request was not taken")
    }
    var head: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    let end = Array("\r\n\r\n".utf8)
    var extra = 0
    while true {
      let count = recv(socket, &buffer, buffer.count, 0)
      guard count > 0, head.count < 65536 else { throw LabError("no answer") }
      head += buffer[..<count]
      if let found = head.firstRange(of: end) {
        extra = head.count - found.upperBound
        head = Array(head[..<found.upperBound])
        break
      }
    }
    let text = String(decoding: head, as: UTF8.self).lowercased()
    guard text.hasPrefix("http/1.1 200"), let field = text.firstRange(of: "content-length: "),
      let length = Int64(text[field.upperBound...].prefix { $0.isNumber })
    else { throw LabError("the answer is \(text)") }
    var left = length - Int64(extra)
    while left > 0 {
      // tcp(7): "MSG_TRUNC ... causes the received bytes of data to be discarded, rather than passed back".
      let count = recv(socket, nil, Int(min(left, 4 << 20)), Int32(MSG_TRUNC))
      guard count > 0 else { throw LabError("the answer broke off with \(left) bytes left") }
      left -= Int64(count)
    }
    return length
  }
}
