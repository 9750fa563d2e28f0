import FoundationEssentials

/// Who asks, and what that lets him do.
package struct AdminCaller: Hashable, Sendable {
  /// `root`, `uid 1000`, `token backup`: for the record of changes.
  package var name: String
  package var role: AdminRole

  package init(name: String, role: AdminRole) {
    self.name = name
    self.role = role
  }
}

/// One request on its way to the route that answers it: what it names was checked against the route's entry.
struct AdminCall: Sendable {
  let appliance: Appliance
  let who: AdminCaller
  /// Whether this is the process of a verb that opened the appliance itself: nothing happens in it by itself.
  let isLocal: Bool
  /// The values of the path's `{name}`s.
  let pieces: [String: String]
  let query: [String: [String]]
  /// JSON, as it came.
  let body: [UInt8]
  /// Of a reader of events who was interrupted: the last that it had.
  let lastEventID: String?
  /// Ends the connection, whoever waits for it.
  let hangUp: @Sendable () -> Void

  /// `node=PATTERN` of the query.
  var nodes: [String] { query["node"] ?? [] }

  func text(_ parameter: String) -> String? { query[parameter]?.first }

  func integer(_ parameter: String) -> Int? { text(parameter).flatMap { Int($0) } }

  func isSet(_ parameter: String) -> Bool { query[parameter] != nil }

  fileprivate static func unreadable(_ error: any Error) -> ApplianceError {
    let words =
      switch error as? DecodingError {
      case .dataCorrupted(let context): place(context.codingPath) + context.debugDescription
      case .typeMismatch(_, let context), .valueNotFound(_, let context), .keyNotFound(_, let context):
        place(context.codingPath) + context.debugDescription
      default: "\(error)"
      }
    return ApplianceError(.invalid, "The request's body cannot be read: \(printable(words, 300))")
  }

  private static func place(_ path: [any CodingKey]) -> String {
    path.isEmpty ? "" : path.map { $0.intValue.map(String.init) ?? $0.stringValue }.joined(separator: ".") + ": "
  }

  /// - Throws: `ApplianceError` with code `invalid` that says where and what is wrong.
  func checkBody(_ schema: Schema) throws {
    let value: JSONValue
    do {
      value = try JSONDecoder().decode(JSONValue.self, from: Data(body))
    } catch {
      let found = body.isEmpty ? "nothing" : "something else"
      throw ApplianceError(.invalid, "The request's body must be JSON, \(schema.words); found was \(found).")
    }
    try schema.check(value)
  }

  func decodedBody<Body: Decodable>(_ type: Body.Type) throws -> Body {
    do {
      return try JSONDecoder().decode(type, from: Data(body))
    } catch {
      throw Self.unreadable(error)
    }
  }

  /// - Parameter word: What the caller wants to do with what happens.
  /// - Throws: `ApplianceError` where no appliance runs.
  func needsRunningAppliance(_ word: String) throws {
    guard isLocal else { return }
    throw ApplianceError(
      .refused, "No appliance runs on this state directory, so there is nothing to \(word). Start it first.")
  }
}
