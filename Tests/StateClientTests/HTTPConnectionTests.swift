import Glibc
import NetworkTypes
import StateClient
import TestSupport
import Testing

@Suite("The HTTP client")
struct HTTPConnectionTests {
  let quick = HTTPTimeouts(connect: 2, idle: 0.3, whole: 2)

  @Test("reads an answer with Content-Length, and keeps the connection for the next request")
  func keepsConnection() throws {
    let server = try ScriptedServer { request, number in .send(answer(200, Array("answer \(number)".utf8))) }
    try server.serving {
      var connection = HTTPConnection(server: server.endpoint)
      let first = try connection.send(HTTPRequest("GET", "/a"), bodyLimit: 100)
      let second = try connection.send(HTTPRequest("GET", "/b?c=d"), bodyLimit: 100)
      #expect(String(decoding: first.body, as: UTF8.self) == "answer 0")
      #expect(String(decoding: second.body, as: UTF8.self) == "answer 1")
    }
    #expect(server.connections == 1)
    #expect(server.requests[1].hasPrefix("GET /b?c=d HTTP/1.1\r\nHost: \(server.endpoint)\r\n"))
  }

  @Test("opens a new connection where the server closed the one that was kept")
  func survivesClosedKeepAlive() throws {
    let server = try ScriptedServer { _, _ in .sendAndClose(answer(200, [1, 2, 3])) }
    try server.serving {
      var connection = HTTPConnection(server: server.endpoint)
      for _ in 0..<3 {
        let response = try connection.send(HTTPRequest("GET", "/"), bodyLimit: 10)
        #expect(response.body == [1, 2, 3])
      }
    }
    #expect(server.connections == 3)
  }

  @Test("reads a chunked answer, chunk extensions and trailer fields included")
  func readsChunks() throws {
    let body = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nWiki\r\n5\r\npedia\r\n0\r\nA: b\r\n\r\n"
    let server = try ScriptedServer { _, _ in .send(Array(body.utf8)) }
    try server.serving {
      var connection = HTTPConnection(server: server.endpoint)
      for _ in 0..<2 {
        let response = try connection.send(HTTPRequest("GET", "/"), bodyLimit: 100)
        #expect(String(decoding: response.body, as: UTF8.self) == "Wikipedia")
      }
    }
    #expect(server.connections == 1)
  }

  @Test("reads over 1xx answers")
  func skipsInformational() throws {
    let server = try ScriptedServer { _, _ in .send(Array("HTTP/1.1 103 Early\r\n\r\n".utf8) + answer(200, [7])) }
    try server.serving {
      var connection = HTTPConnection(server: server.endpoint)
      let response = try connection.send(HTTPRequest("GET", "/"), bodyLimit: 10)
      #expect(response.body == [7])
    }
  }

  @Test("says what was missing where the connection ends in the middle of a body")
  func reportsTruncation() throws {
    let server = try ScriptedServer { _, _ in
      .sendAndClose(Array("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345".utf8))
    }
    try server.serving {
      var connection = HTTPConnection(server: server.endpoint)
      let error = Self.failure { try connection.send(HTTPRequest("GET", "/cut"), bodyLimit: 100) }
      #expect(error?.kind == .closed)
      #expect(error?.description.contains("GET http://\(server.endpoint)/cut") == true)
      #expect(error?.description.contains("5 more bytes") == true)
    }
  }

  @Test("gives up on a server that says nothing")
  func timesOut() throws {
    let server = try ScriptedServer { _, _ in .silence }
    try server.serving {
      var connection = HTTPConnection(server: server.endpoint, timeouts: quick)
      #expect(Self.failure { try connection.send(HTTPRequest("GET", "/"), bodyLimit: 100) }?.kind == .timeout)
      connection.close()
    }
  }

  @Test("says where it could not connect to")
  func reportsRefusal() throws {
    let server = try ScriptedServer { _, _ in .silence }
    let endpoint = server.endpoint
    // Nobody serves and the listener's queue is closed with it.
    try server.serving {}
    var connection = HTTPConnection(server: endpoint, timeouts: quick)
    let error = Self.failure { try connection.send(HTTPRequest("GET", "/x"), bodyLimit: 100) }
    #expect(error?.kind == .connect)
    #expect(error?.description.contains("http://\(endpoint)/x") == true)
  }

  @Test(
    "refuses what is not HTTP, or more than it reads",
    arguments: [
      "SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n", "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
      "HTTP/1.1 200 OK\r\nA: " + String(repeating: "a", count: 20000) + "\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nc8\r\n" + String(repeating: "a", count: 200)
        + "\r\n0\r\n\r\n",
    ])
  func refusesMalformed(text: String) throws {
    let server = try ScriptedServer { _, _ in .sendAndClose(Array(text.utf8)) }
    try server.serving {
      var connection = HTTPConnection(server: server.endpoint, timeouts: quick)
      #expect(Self.failure { try connection.send(HTTPRequest("GET", "/"), bodyLimit: 100) }?.kind == .malformed)
    }
  }

  static func failure<Value>(_ body: () throws -> Value) -> HTTPError? {
    do {
      _ = try body()
      return nil
    } catch {
      return error as? HTTPError
    }
  }
}
