import Glibc

/// What is asked of a server.
package struct HTTPRequest: Hashable, Sendable {
  package var method: String
  /// Path and query, percent-encoded.
  package var target: String
  package var fields: [String: String]
  package var body: [UInt8]

  package init(_ method: String, _ target: String, fields: [String: String] = [:], body: [UInt8] = []) {
    self.method = method
    self.target = target
    self.fields = fields
    self.body = body
  }
}

/// A whole answer.
package struct HTTPResponse: Hashable, Sendable {
  package var head: HTTPResponseHead
  package var body: [UInt8]
}

/// Seconds that are waited for a server.
package struct HTTPTimeouts: Hashable, Sendable {
  /// For a connection.
  package var connect: Double
  /// For the next byte.
  package var idle: Double
  /// For the whole of a small answer, so that a server that drips does not hold the node.
  package var whole: Double
  /// Seconds of waiting for a body after which it is looked at what they brought, and bytes a second that is the least.
  /// What drips slower is as good as nothing, and would hold the node for hours.
  package var slow: Double
  package var slowest: Int

  package init(
    connect: Double = 5, idle: Double = 15, whole: Double = 60, slow: Double = 20, slowest: Int = 2048
  ) {
    self.connect = connect
    self.idle = idle
    self.whole = whole
    self.slow = slow
    self.slowest = slowest
  }
}

/// A blocking HTTP/1.1 client (RFC 9112) with one connection that is kept open from request to request.
///
/// For use by one thread. Any failure closes the connection; the next request opens another.
package struct HTTPConnection: ~Copyable {
  package let server: Endpoint
  package let timeouts: HTTPTimeouts
  private var stream: TCPStream?
  /// Received and not yet taken: `buffer[start..<end]`.
  private var buffer = [UInt8](repeating: 0, count: HTTPResponseHead.sizeLimit)
  private var start = 0
  private var end = 0
  private var body = Body.none
  private var isPersistent = false
  /// What came of this body since it was last looked at, in bytes, and how long it was waited for, in seconds.
  private var came = 0
  private var waited = 0.0
  /// The request that is being answered, for errors.
  private var asked = ""

  private enum Body {
    case none
    case length(Int64)
    /// Bytes left of the current chunk; `nil` before its size line.
    case chunk(Int64?, isFirst: Bool)
  }

  package init(server: Endpoint, timeouts: HTTPTimeouts = HTTPTimeouts()) {
    self.server = server
    self.timeouts = timeouts
  }

  package mutating func close() {
    stream = nil
    body = .none
    start = 0
    end = 0
  }

  /// Sends a request and reads status line and fields of the answer; the body is then there to be
  /// read, and must be read to its end before the next request.
  package mutating func begin(_ request: HTTPRequest) throws(HTTPError) -> HTTPResponseHead {
    asked = "\(request.method) http://\(server)\(request.target)"
    if case .none = body {} else { close() }
    if !isPersistent { close() }
    // A kept connection may have been closed by the server meanwhile: then once more on a new one.
    let wasKept = stream != nil
    do {
      return try exchange(request)
    } catch  where wasKept && error.kind == .closed {
      return try exchange(request)
    }
  }

  private mutating func exchange(_ request: HTTPRequest) throws(HTTPError) -> HTTPResponseHead {
    do {
      var text = "\(request.method) \(request.target) HTTP/1.1\r\nHost: \(server)\r\nUser-Agent: perseid-node\r\n"
      for (name, value) in request.fields.sorted(by: { $0.key < $1.key }) { text += "\(name): \(value)\r\n" }
      if !request.body.isEmpty || request.method == "POST" { text += "Content-Length: \(request.body.count)\r\n" }
      try connect()
      try send(Array((text + "\r\n").utf8) + request.body)
      let deadline = Clock.now + timeouts.whole
      var head = try readHead(until: deadline)
      while head.status < 200 { head = try readHead(until: deadline) }
      isPersistent = head.isPersistent
      came = 0
      waited = 0
      body =
        switch head.framing {
        case .length(let length): length == 0 ? .none : .length(length)
        case .chunked: .chunk(nil, isFirst: true)
        }
      return head
    } catch {
      close()
      throw error
    }
  }

  /// The next bytes of the body, as many as are there and fit.
  /// - Returns: 0 at the body's end.
  package mutating func read(into target: UnsafeMutableRawBufferPointer) throws(HTTPError) -> Int {
    do {
      while true {
        switch body {
        case .none:
          return 0
        case .length(let rest):
          let count = try take(into: target, atMost: rest)
          body = rest == Int64(count) ? .none : .length(rest - Int64(count))
          return count
        case .chunk(let rest?, let isFirst) where rest > 0:
          let count = try take(into: target, atMost: rest)
          body = .chunk(rest - Int64(count), isFirst: isFirst)
          return count
        case .chunk(let rest, let isFirst):
          if rest == 0 && !isFirst { _ = try readLine() }
          let size = try readChunkSize()
          body = .chunk(size, isFirst: false)
          if size == 0 {
            // Trailer fields are read over (RFC 9112, section 7.1.2).
            while true {
              if try readLine().isEmpty { break }
            }
            body = .none
          }
        }
      }
    } catch {
      close()
      throw error
    }
  }

  /// Fills `target` with the next bytes of the body.
  package mutating func readExactly(into target: UnsafeMutableRawBufferPointer) throws(HTTPError) {
    var done = 0
    while done < target.count {
      let count = try read(into: UnsafeMutableRawBufferPointer(rebasing: target[done...]))
      guard count > 0 else {
        close()
        throw HTTPError(
          .closed, request: asked, expected: "\(target.count) more bytes", came: "\(done), then the body's end")
      }
      done += count
    }
  }

  /// A request whose answer is read whole.
  /// - Parameter bodyLimit: Bytes; a longer body is an error.
  package mutating func send(_ request: HTTPRequest, bodyLimit: Int) throws(HTTPError) -> HTTPResponse {
    let deadline = Clock.now + timeouts.whole
    let head = try begin(request)
    let tooLarge = HTTPError(
      .malformed, request: asked, expected: "at most \(bodyLimit) bytes", came: "more (\(head.framing))")
    if case .length(let length) = head.framing, length > Int64(bodyLimit) {
      close()
      throw tooLarge
    }
    var bytes: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 64 << 10)
    while true {
      let count = try piece.withUnsafeMutableBufferPointer { (target) throws(HTTPError) in
        try read(into: UnsafeMutableRawBufferPointer(target))
      }
      if count == 0 { return HTTPResponse(head: head, body: bytes) }
      bytes.append(contentsOf: piece[..<count])
      guard bytes.count <= bodyLimit else {
        close()
        throw tooLarge
      }
      guard Clock.now < deadline else {
        close()
        throw HTTPError(
          .timeout, request: asked, expected: "the whole answer within \(timeouts.whole) s",
          came: "\(bytes.count) bytes")
      }
    }
  }

  // MARK: - Bytes

  private mutating func connect() throws(HTTPError) {
    guard stream == nil else { return }
    do throws(TCPStream.Failure) {
      stream = try TCPStream.connected(to: server, within: timeouts.connect)
    } catch {
      let came =
        switch error {
        case .timeout: "no answer in \(timeouts.connect) s"
        case .system(let error): error.description
        }
      throw HTTPError(.connect, request: asked, expected: "a connection", came: came)
    }
  }

  private func error(_ failure: TCPStream.Failure, expected: String) -> HTTPError {
    switch failure {
    case .timeout:
      HTTPError(.timeout, request: asked, expected: expected, came: "nothing for \(timeouts.idle) s")
    case .system(let error):
      HTTPError(.closed, request: asked, expected: expected, came: error.description)
    }
  }

  private mutating func send(_ bytes: [UInt8]) throws(HTTPError) {
    do throws(TCPStream.Failure) {
      try stream?.send(bytes, within: timeouts.idle)
    } catch {
      throw self.error(error, expected: "to send \(bytes.count) bytes")
    }
  }

  private mutating func receive(into target: UnsafeMutableRawBufferPointer, expected: String) throws(HTTPError) -> Int {
    let count: Int
    do throws(TCPStream.Failure) {
      count = try stream?.receive(into: target, within: timeouts.idle) ?? 0
    } catch {
      throw self.error(error, expected: expected)
    }
    guard count > 0 else {
      throw HTTPError(.closed, request: asked, expected: expected, came: "the end of the connection")
    }
    return count
  }

  /// Body bytes: what is buffered first, then straight from the socket.
  private mutating func take(into target: UnsafeMutableRawBufferPointer, atMost limit: Int64) throws(HTTPError) -> Int {
    let room = Int(min(limit, Int64(target.count)))
    guard room > 0 else { return 0 }
    if start < end {
      let count = min(room, end - start)
      buffer.withUnsafeBytes { target.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[start..<start + count])) }
      start += count
      return count
    }
    let before = Clock.now
    let count = try receive(
      into: UnsafeMutableRawBufferPointer(rebasing: target[..<room]), expected: "\(limit) more bytes of the body")
    try judge(count, in: Clock.now - before)
    return count
  }

  /// A server that gives a few bytes now and then never lets a wait for the next byte end.
  private mutating func judge(_ count: Int, in seconds: Double) throws(HTTPError) {
    came += count
    waited += seconds
    guard waited >= timeouts.slow else { return }
    guard Double(came) >= Double(timeouts.slowest) * waited else {
      throw HTTPError(
        .timeout, request: asked, expected: "at least \(timeouts.slowest) bytes a second",
        came: "\(came) bytes in \(Int(waited.rounded())) s")
    }
    came = 0
    waited = 0
  }

  private mutating func fill(expected: String) throws(HTTPError) {
    if start > 0 {
      buffer.replaceSubrange(0..<(end - start), with: Array(buffer[start..<end]))
      end -= start
      start = 0
    }
    guard end < buffer.count else {
      throw HTTPError(.malformed, request: asked, expected: expected, came: "more than \(buffer.count) bytes")
    }
    var bytes = buffer
    buffer = []
    defer { buffer = bytes }
    let filled = end
    end += try bytes.withUnsafeMutableBufferPointer { (target) throws(HTTPError) in
      let rest = UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(target)[filled...])
      return try receive(into: rest, expected: expected)
    }
  }

  /// A line without its end, at most as long as the buffer.
  private mutating func readLine() throws(HTTPError) -> [UInt8] {
    let deadline = Clock.now + timeouts.whole
    var searched = 0
    while true {
      if let newline = buffer[(start + searched)..<end].firstIndex(of: 0x0A) {
        var line = buffer[start..<newline]
        if line.last == 0x0D { line.removeLast() }
        start = newline + 1
        return Array(line)
      }
      searched = end - start
      try fill(expected: "the end of a line")
      guard Clock.now < deadline else {
        throw HTTPError(.timeout, request: asked, expected: "the end of a line", came: "\(end - start) bytes")
      }
    }
  }

  private mutating func readHead(until deadline: Double) throws(HTTPError) -> HTTPResponseHead {
    var lines: [UInt8] = []
    while true {
      let line = try readLine()
      if line.isEmpty && !lines.isEmpty { break }
      lines += line + [0x0D, 0x0A]
      guard lines.count <= HTTPResponseHead.sizeLimit else {
        throw HTTPError(
          .malformed, request: asked, expected: "at most \(HTTPResponseHead.sizeLimit) bytes of fields", came: "more")
      }
      guard Clock.now < deadline else {
        throw HTTPError(.timeout, request: asked, expected: "an answer", came: "\(lines.count) bytes of its fields")
      }
    }
    do {
      return try HTTPResponseHead(parsing: lines)
    } catch {
      throw HTTPError(.malformed, request: asked, expected: "an HTTP/1.1 answer", came: error.reason)
    }
  }

  private mutating func readChunkSize() throws(HTTPError) -> Int64 {
    let line = try readLine()
    let digits = line.prefix { $0 != UInt8(ascii: ";") && $0 != UInt8(ascii: " ") }
    let text = String(decoding: digits, as: UTF8.self)
    guard !digits.isEmpty, digits.count <= 15, text.utf8.first != UInt8(ascii: "-"),
      text.utf8.first != UInt8(ascii: "+"), let size = Int64(text, radix: 16)
    else {
      throw HTTPError(
        .malformed, request: asked, expected: "a chunk's size",
        came: "'\(String(decoding: line.prefix(40), as: UTF8.self))'")
    }
    return size
  }
}
