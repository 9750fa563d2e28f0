package import NetworkTypes
package import TFTP

/// One request on the nodes' port.
package struct NodeRequest: Sendable {
  package enum Method: String, Sendable {
    case get = "GET"
    case head = "HEAD"
    case post = "POST"
  }

  package var method: Method
  /// The decoded path without the query, beginning with `/`.
  package var path: String
  package var query: [String: String]
  /// Whole; the server has capped its size.
  package var body: [UInt8]
  package var client: IPv4Address
  /// The address the client reached us under, and the port: what URLs in answers are made of.
  package var server: IPv4Address
  package var port: Int

  package init(
    method: Method, path: String, query: [String: String] = [:], body: [UInt8] = [], client: IPv4Address,
    server: IPv4Address, port: Int
  ) {
    self.method = method
    self.path = path
    self.query = query
    self.body = body
    self.client = client
    self.server = server
    self.port = port
  }
}

/// The answer. The server adds Content-Length, Accept-Ranges and, for a Range request on a cacheable
/// body, makes a 206 of it; a HEAD request gets the fields alone.
package struct NodeResponse: Sendable {
  /// How one delivery of a body ended.
  package struct Delivery: Sendable {
    package var bytes: Int
    package var seconds: Double
    /// Whether all that was asked for was sent.
    package var isComplete: Bool

    package init(bytes: Int, seconds: Double, isComplete: Bool) {
      self.bytes = bytes
      self.seconds = seconds
      self.isComplete = isComplete
    }
  }

  package var status: Int
  package var contentType: String
  package var fields: [(name: String, value: String)]
  package var body: Content
  /// Content by digest that never changes: may be cached for ever, and asked for in ranges.
  package var isImmutable: Bool
  /// Called once when a GET's body has been sent, or the client went away before.
  package var delivered: (@Sendable (Delivery) -> Void)?

  package init(
    status: Int, contentType: String, fields: [(name: String, value: String)] = [], body: Content,
    isImmutable: Bool = false, delivered: (@Sendable (Delivery) -> Void)? = nil
  ) {
    self.status = status
    self.contentType = contentType
    self.fields = fields
    self.body = body
    self.isImmutable = isImmutable
    self.delivered = delivered
  }

  /// An answer in plain text, for a person or a console.
  package static func text(_ status: Int, _ text: String) -> NodeResponse {
    NodeResponse(
      status: status, contentType: "text/plain; charset=utf-8", body: Content(parts: [.bytes(Array(text.utf8))]))
  }
}

/// What the nodes' HTTP server serves.
package protocol NodeAPI: Sendable {
  func respond(to request: NodeRequest) async -> NodeResponse
}
