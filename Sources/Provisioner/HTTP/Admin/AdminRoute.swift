/// What a caller may do. Each role may also do what those before it may.
package enum AdminRole: String, Hashable, Sendable, Codable, CaseIterable, Comparable {
  /// Look.
  case read
  /// Add nodes, and change what they and their groups are set to.
  case operate
  /// Everything: what runs on nodes as root, deletions, tokens.
  case admin

  package static func < (left: AdminRole, right: AdminRole) -> Bool {
    (allCases.firstIndex(of: left) ?? 0) < (allCases.firstIndex(of: right) ?? 0)
  }
}

/// One request that the admin API answers, with all that is said of it anywhere: the server takes it by this entry,
/// checks role, query and body by it, and the OpenAPI document is made from it.
struct AdminRoute: Sendable {
  enum Reply: Hashable, Sendable {
    case json(Schema)
    /// A body that goes on: its media type, and what it holds.
    case stream(type: String, words: String)
  }

  let method: AdminRequest.Method
  /// Below `/api/v1/`; `{name}` stands for one piece.
  let path: String
  let role: AdminRole
  /// One sentence for the OpenAPI document.
  let summary: String
  let query: [AdminParameter]
  /// What the request's body is; `nil` where it has none.
  let body: Schema?
  let reply: Reply
  /// Largest body that is read, in bytes.
  var bodyLimit = 1 << 20
  let respond: @Sendable (AdminCall) async throws -> AdminReply

  /// A request without a body.
  static func route<Answer: Codable & Sendable>(
    _ method: AdminRequest.Method, _ path: String, _ role: AdminRole, _ summary: String, query: [AdminParameter] = [],
    _ handler: @escaping @Sendable (AdminCall) async throws -> Answer
  ) -> AdminRoute {
    AdminRoute(
      method: method, path: path, role: role, summary: summary, query: query, body: nil,
      reply: .json(Schema(Answer.self))
    ) { call in .json(try await handler(call)) }
  }

  /// A request whose body is JSON.
  static func route<Body: Codable & Sendable, Answer: Codable & Sendable>(
    _ method: AdminRequest.Method, _ path: String, _ role: AdminRole, _ summary: String, query: [AdminParameter] = [],
    body: Body.Type, _ handler: @escaping @Sendable (AdminCall, Body) async throws -> Answer
  ) -> AdminRoute {
    AdminRoute(
      method: method, path: path, role: role, summary: summary, query: query, body: Schema(body),
      reply: .json(Schema(Answer.self))
    ) { call in .json(try await handler(call, try call.decodedBody(body))) }
  }

  /// A request whose answer goes on for a while.
  /// - Parameter handler: Says no by throwing; what it returns writes the answer's body.
  static func stream(
    _ path: String, _ role: AdminRole, _ summary: String, query: [AdminParameter] = [], type: String, words: String,
    _ handler: @escaping @Sendable (AdminCall) async throws -> AdminReply.Writing
  ) -> AdminRoute {
    AdminRoute(
      method: .get, path: path, role: role, summary: summary, query: query, body: nil,
      reply: .stream(type: type, words: words)
    ) { call in .stream(type, try await handler(call)) }
  }

  /// The same with larger bodies.
  func reading(upTo bytes: Int) -> AdminRoute {
    var route = self
    route.bodyLimit = bytes
    return route
  }

  /// The names in braces.
  var pieces: [String] {
    path.split(separator: "/").filter { $0.hasPrefix("{") }.map { String($0.dropFirst().dropLast()) }
  }

  /// The values of the pieces in braces where the path fits.
  func match(_ pieces: [String]) -> [String: String]? {
    let own = path.split(separator: "/")
    guard own.count == pieces.count else { return nil }
    var values: [String: String] = [:]
    for (own, piece) in zip(own, pieces) {
      if own.hasPrefix("{") {
        values[String(own.dropFirst().dropLast())] = piece
      } else if own != piece {
        return nil
      }
    }
    return values
  }
}

/// One `name=value` of a query.
struct AdminParameter: Hashable, Sendable {
  var name: String
  var words: String
  var schema: Schema
  /// Whether it may stand there more than once.
  var isRepeated = false

  static func text(_ name: String, _ words: String, choices: [String] = []) -> AdminParameter {
    AdminParameter(name: name, words: words, schema: .text(Schema.Text(choices: choices)))
  }

  static func texts(_ name: String, _ words: String) -> AdminParameter {
    AdminParameter(name: name, words: words, schema: .text(Schema.Text()), isRepeated: true)
  }

  static func integer(_ name: String, _ range: ClosedRange<Int64>, _ words: String) -> AdminParameter {
    AdminParameter(
      name: name, words: words, schema: .integer(minimum: range.lowerBound, maximum: range.upperBound))
  }

  /// Set by any value, or none: `?kept`.
  static func flag(_ name: String, _ words: String) -> AdminParameter {
    AdminParameter(name: name, words: words, schema: .text(Schema.Text()))
  }

  /// Nodes as people name them.
  static let nodes = texts(
    "node", "Nodes: a name, n00[00-97,99-199], n1*, or @group; all where there is none.")
}

/// What an answer is.
enum AdminReply: Sendable {
  typealias Writing = @Sendable (_ write: @escaping ([UInt8]) async throws -> Void) async throws -> Void

  case json(any Encodable & Sendable)
  case stream(String, Writing)
}
