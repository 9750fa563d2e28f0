import Glibc
import NetworkTypes
package import StateClient

/// A server on loopback that plays one scripted reaction for each connection, and keeps what it was asked.
package final class ScriptedServer: Sendable {
  /// What is done with one request on a connection.
  package enum Reaction: Sendable {
    /// Bytes as they are, then the next request on the same connection.
    case send([UInt8])
    /// Bytes as they are, then the connection ends.
    case sendAndClose([UInt8])
    /// Bytes as they are, then nothing until the client goes away.
    case sendAndStall([UInt8])
    /// Bytes as they are, one at a time with so many seconds between them, until the client goes away.
    case drip([UInt8], seconds: Double)
    /// Nothing, until the client goes away.
    case silence
  }

  private struct State {
    var requests: [String] = []
    var connections = 0
  }

  package let endpoint: Endpoint
  private let listener: CInt
  private let state = Monitor(State())
  private let respond: @Sendable (String, Int) -> Reaction

  /// - Parameter respond: Called with each request (head and body) and its number from 0.
  package init(_ respond: @escaping @Sendable (String, Int) -> Reaction) throws {
    self.respond = respond
    listener = socket(AF_INET, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let listener = listener
    let bound = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer -> Bool in
        bind(listener, pointer, length) == 0 && listen(listener, 16) == 0
          && getsockname(listener, pointer, &length) == 0
      }
    }
    guard bound else { throw SystemError("listen on loopback") }
    endpoint = Endpoint(address: IPv4Address(127, 0, 0, 1), port: UInt16(bigEndian: address.sin_port))
  }

  package var requests: [String] { state.update { $0.requests } }
  package var connections: Int { state.update { $0.connections } }

  /// Runs `body` while the server serves; every thread has ended when it returns.
  package func serving<Result>(_ body: () throws -> Result) throws -> Result {
    try ThreadScope.run { scope in
      try scope.start("server") { self.serve() }
      defer { shutdown(self.listener, CInt(SHUT_RDWR)) }
      return try body()
    }
  }

  deinit { close(listener) }

  /// Connections one after the other, except that a second one is served while the first is silent.
  private func serve() {
    do {
      try ThreadScope.run { scope in
        while true {
          let connection = accept(listener, nil, nil)
          guard connection >= 0 else { return }
          state.update { $0.connections += 1 }
          try scope.start("connection") { self.serve(connection) }
        }
      }
    } catch {}
  }

  private func serve(_ connection: CInt) {
    defer { close(connection) }
    var pending: [UInt8] = []
    while let request = readRequest(connection, &pending) {
      let number = state.update { state -> Int in
        state.requests.append(request)
        return state.requests.count - 1
      }
      switch respond(request, number) {
      case .send(let bytes):
        sendAll(connection, bytes)
      case .sendAndClose(let bytes):
        sendAll(connection, bytes)
        return
      case .drip(let bytes, let seconds):
        for byte in bytes {
          guard isThere(connection, after: seconds), send(connection, [byte], 1, CInt(MSG_NOSIGNAL)) == 1 else {
            return
          }
        }
      case .sendAndStall(let bytes):
        sendAll(connection, bytes)
        fallthrough
      case .silence:
        var byte: UInt8 = 0
        while recv(connection, &byte, 1, 0) > 0 {}
        return
      }
    }
  }

  /// Waits so long.
  /// - Returns: Whether the client is still there, and asks for nothing else.
  private func isThere(_ connection: CInt, after seconds: Double) -> Bool {
    var entry = pollfd(fd: connection, events: Int16(POLLIN), revents: 0)
    return poll(&entry, 1, CInt(seconds * 1000)) == 0
  }

  private func sendAll(_ connection: CInt, _ bytes: [UInt8]) {
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeBytes {
        send(connection, $0.baseAddress.map { $0 + done }, bytes.count - done, CInt(MSG_NOSIGNAL))
      }
      guard count > 0 else { return }
      done += count
    }
  }

  private func readRequest(_ connection: CInt, _ pending: inout [UInt8]) -> String? {
    var piece = [UInt8](repeating: 0, count: 65536)
    while true {
      let text = String(decoding: pending, as: UTF8.self)
      if let end = text.firstRange(of: "\r\n\r\n") {
        let head = text[..<end.lowerBound]
        let length =
          head.split(separator: "\r\n").first { $0.lowercased().hasPrefix("content-length:") }
          .flatMap { Int($0.split(separator: " ").last ?? "") } ?? 0
        let total = text[..<end.upperBound].utf8.count + length
        if pending.count >= total {
          defer { pending.removeFirst(total) }
          return String(decoding: pending[..<total], as: UTF8.self)
        }
      }
      let count = recv(connection, &piece, piece.count, 0)
      guard count > 0 else { return nil }
      pending += piece[..<count]
    }
  }
}

/// An answer with its fields and Content-Length.
package func answer(_ status: Int, _ body: [UInt8] = [], fields: [String] = []) -> [UInt8] {
  let lines = ["HTTP/1.1 \(status) words"] + fields + ["Content-Length: \(body.count)", "", ""]
  return Array(lines.joined(separator: "\r\n").utf8) + body
}
