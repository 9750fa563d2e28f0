import Foundation
import NetworkTypes
import Synchronization
import TFTP
import Testing

@testable import Provisioner

@Suite("The nodes' HTTP server", .timeLimit(.minutes(5)))
struct HTTPServerTests {
  @Test("answers the HEAD and the GET of boot firmware on one connection")
  func headThenGet() async throws {
    let api = RecordingAPI(.text(200, "loader"))
    try await withServer(api) { port in
      let connection = try RawConnection(port: port)
      try connection.send("HEAD /loader/snponly.efi HTTP/1.1\r\nHost: a\r\nUser-Agent: UefiHttpBoot/1.0\r\n\r\n")
      let head = try await connection.readHead()
      #expect(head.contains("Content-Length: 6\r\n"))
      #expect(head.hasPrefix("HTTP/1.1 200 OK\r\n"))
      try connection.send("GET /loader/snponly.efi HTTP/1.1\r\nHost: a\r\n\r\n")
      #expect(try await connection.readHead().contains("Content-Length: 6\r\n"))
      #expect(try await connection.read(6) == Array("loader".utf8))
    }
    #expect(api.requests.map(\.method) == [.head, .get])
  }

  @Test("tells the API the address and port that the client reached")
  func localAddress() async throws {
    let api = RecordingAPI(.text(200, "x"))
    try await withServer(api) { port in
      try await curl("-s", "http://127.0.0.1:\(port)/ipxe?mac=52%3a54:00:12:34:56&platform=efi&x=a%20b+c")
      let request = try #require(api.requests.first)
      #expect(request.server == IPv4Address(127, 0, 0, 1))
      #expect(request.client == IPv4Address(127, 0, 0, 1))
      #expect(request.port == port)
      #expect(request.path == "/ipxe")
      #expect(request.query == ["mac": "52:54:00:12:34:56", "platform": "efi", "x": "a b+c"])
    }
  }

  @Test("sends several parts one after the other, empty ones too, whole and byte for byte")
  func severalParts() async throws {
    let files = try Files()
    let first = try files.random(3_000_001)
    let second = try files.random(17)
    let content = Content(parts: [
      .bytes([]), try files.part(first), try files.part([]), .bytes(Array("middle".utf8)), try files.part(second),
    ])
    let api = RecordingAPI(NodeResponse(status: 200, contentType: "application/octet-stream", body: content))
    try await withServer(api) { port in
      let got = try await curl("-s", "http://127.0.0.1:\(port)/b/x/initramfs")
      #expect(Array(got.output) == first + Array("middle".utf8) + second)
    }
  }

  @Test("answers a range across the seam of two parts with just those bytes")
  func range() async throws {
    let files = try Files()
    let (first, second) = (try files.random(1000), try files.random(1000))
    let whole = first + second
    let api = RecordingAPI(
      NodeResponse(
        status: 200, contentType: "application/octet-stream",
        body: Content(parts: [try files.part(first), .bytes(second)]), isImmutable: true))
    try await withServer(api) { port in
      let url = "http://127.0.0.1:\(port)/blobs/sha256/x"
      let part = try await curl("-s", "-i", "-r", "990-1009", url)
      #expect(part.head.hasPrefix("HTTP/1.1 206 "))
      #expect(part.head.contains("Content-Range: bytes 990-1009/2000\r\n"))
      #expect(part.head.contains("Content-Length: 20\r\n"))
      #expect(Array(part.body) == Array(whole[990..<1010]))
      let tail = try await curl("-s", "-i", "-r", "-5", url)
      #expect(Array(tail.body) == Array(whole.suffix(5)))
      let open = try await curl("-s", "-i", "-r", "1995-", url)
      #expect(Array(open.body) == Array(whole.suffix(5)))
      let beyond = try await curl("-s", "-i", "-r", "2000-", url)
      #expect(beyond.head.hasPrefix("HTTP/1.1 416 "))
      #expect(beyond.head.contains("Content-Range: bytes */2000\r\n"))
      let several = try await curl("-s", "-i", "-r", "0-1,5-6", url)
      #expect(several.head.hasPrefix("HTTP/1.1 200 "))
      #expect(several.body.count == 2000)
    }
  }

  @Test("lets immutable content be cached, and says so when the client has it")
  func immutable() async throws {
    let api = RecordingAPI(
      NodeResponse(
        status: 200, contentType: "application/octet-stream", body: Content(parts: [.bytes([1, 2, 3])]),
        isImmutable: true))
    try await withServer(api) { port in
      let url = "http://127.0.0.1:\(port)/blobs/sha256/x"
      let answer = try await curl("-s", "-i", url)
      #expect(answer.head.contains("Cache-Control: public, max-age=31536000, immutable\r\n"))
      #expect(answer.head.contains("Accept-Ranges: bytes\r\n"))
      let tag = try #require(answer.field("ETag"))
      let again = try await curl("-s", "-i", "-H", "If-None-Match: \"other\", \(tag)", url)
      #expect(again.head.hasPrefix("HTTP/1.1 304 "))
      #expect(again.body.isEmpty)
      let stale = try await curl("-s", "-i", "-r", "0-0", "-H", "If-Range: \"other\"", url)
      #expect(stale.head.hasPrefix("HTTP/1.1 200 "))
      #expect(stale.body.count == 3)
    }
  }

  @Test("never caches nor cuts what is made for one machine")
  func mutable() async throws {
    try await withServer(RecordingAPI(.text(200, "#!ipxe\n"))) { port in
      let answer = try await curl("-s", "-i", "-r", "0-1", "http://127.0.0.1:\(port)/ipxe")
      #expect(answer.head.hasPrefix("HTTP/1.1 200 "))
      #expect(answer.head.contains("Cache-Control: no-store\r\n"))
      #expect(answer.body == Data("#!ipxe\n".utf8))
    }
  }

  @Test("sends neither an empty field value nor a redirect")
  func firmwareQuirks() async throws {
    var response = NodeResponse.text(200, "x")
    response.fields = [("X-Empty", ""), ("X-Split", "a\r\nX-Injected: b"), ("X-Kept", "c")]
    try await withServer(RecordingAPI(response)) { port in
      let answer = try await curl("-s", "-i", "http://127.0.0.1:\(port)/")
      #expect(!answer.head.contains("X-Empty"))
      #expect(!answer.head.contains("X-Injected"))
      #expect(answer.head.contains("X-Kept: c\r\n"))
    }
    response = .text(302, "elsewhere")
    response.fields = [("Location", "http://10.0.0.1/")]
    try await withServer(RecordingAPI(response)) { port in
      let answer = try await curl("-s", "-i", "http://127.0.0.1:\(port)/")
      #expect(answer.head.hasPrefix("HTTP/1.1 500 "))
      #expect(!answer.head.contains("Location"))
    }
  }

  @Test("hands the body of a POST over whole, after 100 Continue where that is asked for")
  func post() async throws {
    let files = try Files()
    let body = try files.random(300_000)
    let path = try files.write(body)
    let api = RecordingAPI(NodeResponse(status: 204, contentType: "text/plain", body: Content(parts: [])))
    try await withServer(api) { port in
      let answer = try await curl(
        "-s", "-i", "--data-binary", "@\(path)", "-H", "Expect: 100-continue", "http://127.0.0.1:\(port)/v1/events")
      #expect(answer.text.hasPrefix("HTTP/1.1 100 Continue\r\n"))
      #expect(answer.text.contains("HTTP/1.1 204 "))
      #expect(!answer.text.contains("Content-Length"))
    }
    #expect(api.requests.map(\.body) == [body])
  }

  @Test("refuses a body over the limit, announced or not, with 413")
  func bodyLimit() async throws {
    var limits = NodeHTTPServer.Limits()
    limits.bodyBytes = 1000
    let files = try Files()
    let path = try files.write(files.random(100_000))
    let api = RecordingAPI(.text(200, "x"))
    try await withServer(api, limits) { port in
      let url = "http://127.0.0.1:\(port)/v1/state"
      let announced = try await curl("-s", "-i", "--data-binary", "@\(path)", url)
      #expect(announced.text.contains("HTTP/1.1 413 "))
      let chunked = try await curl("-s", "-i", "-H", "Transfer-Encoding: chunked", "--data-binary", "@\(path)", url)
      #expect(chunked.text.contains("HTTP/1.1 413 "))
    }
    #expect(api.requests.isEmpty)
  }

  @Test(
    "answers what it cannot read with the right error and closes",
    arguments: [
      ("BREW / HTTP/1.1\r\n\r\n", "400"), ("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", "405"),
      ("GET /%zz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "400"),
      ("GET /\(String(repeating: "a", count: 5000)) HTTP/1.1\r\nHost: a\r\n\r\n", "414"),
      ("GET / HTTP/1.1\r\nX: \(String(repeating: "a", count: 9000))\r\n\r\n", "431"),
      ("\u{16}\u{3}\u{1} no HTTP\r\n\r\n", "400"),
    ])
  func unreadable(request: String, status: String) async throws {
    let api = RecordingAPI(.text(200, "x"))
    try await withServer(api) { port in
      let connection = try RawConnection(port: port)
      try connection.send(request)
      let answer = try await connection.readToEnd()
      #expect(answer.hasPrefix("HTTP/1.1 \(status) "))
    }
    #expect(api.requests.isEmpty)
  }

  @Test("answers requests sent all at once in their order")
  func pipelining() async throws {
    let api = RecordingAPI { request in .text(200, request.path) }
    try await withServer(api) { port in
      let connection = try RawConnection(port: port)
      try connection.send(
        (0..<50).map { "GET /\($0) HTTP/1.1\r\nHost: a\r\n" + ($0 == 49 ? "Connection: close\r\n\r\n" : "\r\n") }
          .joined())
      let answer = try await connection.readToEnd()
      let paths = answer.split(separator: "\r\n\r\n").compactMap { part in
        part.hasPrefix("/") ? part.prefix { $0 != "H" } : nil
      }
      #expect(paths == (0..<50).map { "/\($0)" })
    }
  }

  @Test("closes a connection whose request does not arrive in time")
  func slowRequest() async throws {
    var limits = NodeHTTPServer.Limits()
    limits.requestSeconds = 1
    try await withServer(RecordingAPI(.text(200, "x")), limits) { port in
      let silent = try RawConnection(port: port)
      let slow = try RawConnection(port: port)
      try slow.send("POST /v1/state HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
      #expect(try await silent.readToEnd().isEmpty)
      #expect(try await slow.readToEnd().hasPrefix("HTTP/1.1 408 "))
    }
  }

  @Test("cuts off a client that takes nothing of its answer, and tells that the delivery failed")
  func stalledClient() async throws {
    var limits = NodeHTTPServer.Limits()
    limits.progressSeconds = 1
    let files = try Files()
    let size = 64 << 20
    let (deliveries, continuation) = AsyncStream.makeStream(of: NodeResponse.Delivery.self)
    let response = NodeResponse(
      status: 200, contentType: "application/octet-stream", body: Content(parts: [try files.sparse(size)]),
      delivered: { continuation.yield($0) })
    try await withServer(RecordingAPI(response), limits) { port in
      let connection = try RawConnection(port: port)
      try connection.send("GET /b/x/initramfs HTTP/1.1\r\nHost: a\r\n\r\n")
      var iterator = deliveries.makeAsyncIterator()
      let delivery = try #require(await iterator.next())
      #expect(!delivery.isComplete)
      #expect(delivery.bytes < size)
    }
  }

  @Test("tells once how each delivery of a body ended")
  func deliveries() async throws {
    let files = try Files()
    let deliveries = Mutex<[NodeResponse.Delivery]>([])
    let (ended, continuation) = AsyncStream.makeStream(of: Void.self)
    let response = NodeResponse(
      status: 200, contentType: "application/octet-stream", body: Content(parts: [try files.sparse(5 << 20)]),
      isImmutable: true,
      delivered: { delivery in
        deliveries.withLock { $0.append(delivery) }
        continuation.yield()
      })
    try await withServer(RecordingAPI(response)) { port in
      let url = "http://127.0.0.1:\(port)/"
      var iterator = ended.makeAsyncIterator()
      try await curl("-s", "-I", url)
      try await curl("-s", "-o", "/dev/null", url)
      await iterator.next()
      try await curl("-s", "-o", "/dev/null", "-r", "1-10", url)
      await iterator.next()
      try await curl("-s", "-o", "/dev/null", "-r", "9999999-", url)
      await iterator.next()
    }
    let seen = deliveries.withLock { $0 }
    #expect(seen.map(\.bytes) == [5 << 20, 10, 0])
    #expect(seen.map(\.isComplete) == [true, true, false])
  }

  @Test("tells that a client went away in the middle of a body")
  func clientGone() async throws {
    let files = try Files()
    let size = 64 << 20
    let (deliveries, continuation) = AsyncStream.makeStream(of: NodeResponse.Delivery.self)
    let response = NodeResponse(
      status: 200, contentType: "application/octet-stream", body: Content(parts: [try files.sparse(size)]),
      delivered: { continuation.yield($0) })
    try await withServer(RecordingAPI(response)) { port in
      do {
        let connection = try RawConnection(port: port)
        try connection.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        _ = try await connection.read(1000)
        connection.close()
      }
      var iterator = deliveries.makeAsyncIterator()
      let delivery = try #require(await iterator.next())
      #expect(!delivery.isComplete)
    }
  }

  @Test("answers 500 for a file that is missing or cut short, before a byte of it is promised")
  func damagedStore() async throws {
    let files = try Files()
    let path = try files.write([1, 2, 3])
    for part in [Content.Part.file(path: path, size: 4), .file(path: path + ".gone", size: 1)] {
      let response = NodeResponse(status: 200, contentType: "application/octet-stream", body: Content(parts: [part]))
      try await withServer(RecordingAPI(response)) { port in
        let answer = try await curl("-s", "-i", "http://127.0.0.1:\(port)/")
        #expect(answer.head.hasPrefix("HTTP/1.1 500 "))
        #expect(answer.text.contains(path))
      }
    }
  }

  @Test("turns away what one client opens over its limit, and serves it again when one has closed")
  func perClientLimit() async throws {
    var limits = NodeHTTPServer.Limits()
    limits.connectionsPerClient = 2
    limits.drainSeconds = 1
    try await withServer(RecordingAPI(.text(200, "x")), limits) { port in
      let first = try RawConnection(port: port)
      let second = try RawConnection(port: port)
      for connection in [first, second] {
        try connection.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(try await connection.readHead().hasPrefix("HTTP/1.1 200 "))
      }
      let third = try RawConnection(port: port)
      #expect(try await third.readToEnd().hasPrefix("HTTP/1.1 503 "))
      try first.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
      _ = try await first.readToEnd()
      first.close()
      // The server learns of the close in its own time.
      let bound = ContinuousClock.now + .seconds(60)
      var status = ""
      while !status.contains("200"), .now < bound {
        let fourth = try RawConnection(port: port)
        try fourth.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        status = try await fourth.readHead()
      }
      #expect(status.hasPrefix("HTTP/1.1 200 "))
    }
  }

  @Test("keeps a connection of HTTP/1.0 only for a client that asks for it")
  func oldClients() async throws {
    try await withServer(RecordingAPI(.text(200, "x"))) { port in
      let closing = try RawConnection(port: port)
      try closing.send("GET / HTTP/1.0\r\n\r\n")
      #expect(try await closing.readToEnd().contains("Connection: close\r\n"))
      let keeping = try RawConnection(port: port)
      try keeping.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
      #expect(try await keeping.readHead().contains("Connection: keep-alive\r\n"))
      _ = try await keeping.read(1)
      try keeping.send("GET / HTTP/1.0\r\n\r\n")
      #expect(try await keeping.readHead().hasPrefix("HTTP/1.0 200 "))
    }
  }

  @Test("names the port and the remedy where the port is in use")
  func portInUse() async throws {
    let first = NodeHTTPServer(
      api: RecordingAPI(.text(200, "")), address: IPv4Address(127, 0, 0, 1), port: 0, logger: silent)
    let port = try await first.start()
    let second = NodeHTTPServer(
      api: RecordingAPI(.text(200, "")), address: IPv4Address(127, 0, 0, 1), port: port, logger: silent)
    let error = await #expect(throws: NodeHTTPServer.StartError.self) { try await second.start() }
    #expect(error?.description.contains("127.0.0.1, port \(port)") == true)
    #expect(error?.description.contains("provisioner.port") == true)
    await first.stop()
  }
}

@Suite("Parts of the nodes' HTTP server")
struct HTTPPartsTests {
  @Test(
    "a Range field is read as RFC 9110 says",
    arguments: [
      ("bytes=0-9", ByteRange.part(0..<10)), ("bytes=5-", .part(5..<100)), ("bytes=-7", .part(93..<100)),
      ("bytes=-700", .part(0..<100)), ("bytes=99-99", .part(99..<100)), ("bytes=0-1000", .part(0..<100)),
      ("Bytes= 1 - 2", .part(1..<3)), ("bytes=100-", .unsatisfiable), ("bytes=-0", .unsatisfiable),
      ("bytes=99999999999999999999-", .unsatisfiable), ("bytes=5-4", .whole), ("bytes=0-1,4-5", .whole),
      ("bytes=-", .whole), ("bytes=a-b", .whole), ("bytes=--1", .whole), ("lines=1-2", .whole), ("", .whole),
      ("bytes=0-99999999999999999999", .part(0..<100)),
    ])
  func ranges(field: String, expected: ByteRange) {
    #expect(ByteRange(field, size: 100) == expected)
  }

  @Test("a target is decoded once, and nothing but a path is taken")
  func targets() {
    #expect(RequestTarget("/a%2Fb/%41?x=1&x=2&y")?.path == "/a/b/A")
    #expect(RequestTarget("/a%2Fb?x=1&x=2&y&=z")?.query == ["x": "1", "y": "", "": "z"])
    #expect(RequestTarget("/%2541")?.path == "/%41")
    #expect(RequestTarget("HTTP://10.0.0.1:9870/ipxe?a=b")?.path == "/ipxe")
    #expect(RequestTarget("http://10.0.0.1")?.path == "/")
    for target in ["", "a", "*", "/%", "/%4", "/%g0", "/%00", "/%ff", "ftp://a/b"] {
      #expect(RequestTarget(target) == nil, "\(target)")
    }
  }

  @Test(
    "a date is written as IMF-fixdate",
    arguments: [
      (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"), (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
      (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"), (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
    ])
  func dates(seconds: Int, text: String) {
    #expect(HTTPDate.text(seconds) == text)
  }
}
