import FoundationEssentials

/// One request to the admin API, however it travels: over the control socket, or to the routes in
/// the verb's own process where no appliance runs.
package struct AdminRequest: Sendable {
  package enum Method: String, Sendable {
    case get = "GET"
    case post = "POST"
    case patch = "PATCH"
    case put = "PUT"
    case delete = "DELETE"
  }

  package var method: Method
  /// Below `/api/v1/`, one piece each, as it is: `["nodes", "n0001", "timeline"]`.
  package var path: [String]
  package var query: [(name: String, value: String)]
  /// JSON.
  package var body: [UInt8]?
  /// The last event that was seen of a stream, to go on from there.
  package var lastEventID: String?

  package init(
    _ method: Method, _ path: [String], query: [(name: String, value: String)] = [], body: [UInt8]? = nil
  ) {
    self.method = method
    self.path = path
    self.query = query
    self.body = body
  }

  /// The request target (RFC 9112 section 3.2.1).
  package var target: String {
    var target = "/api/v1"
    for piece in path { target += "/" + Self.escaped(piece) }
    if !query.isEmpty {
      target += "?" + query.map { Self.escaped($0.name) + "=" + Self.escaped($0.value) }.joined(separator: "&")
    }
    return target
  }

  /// Percent-encodes all but the unreserved characters (RFC 3986 section 2.3).
  private static func escaped(_ text: String) -> String {
    var escaped = ""
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
        UInt8(ascii: "~"):
        escaped.unicodeScalars.append(Unicode.Scalar(byte))
      default:
        escaped += byte < 16 ? "%0" + String(byte, radix: 16) : "%" + String(byte, radix: 16)
      }
    }
    return escaped
  }
}

/// The answer: JSON, or nothing.
package struct AdminAnswer: Sendable {
  package var status: Int
  package var body: [UInt8]

  package init(status: Int, body: [UInt8]) {
    self.status = status
    self.body = body
  }

  /// What the appliance said where it said no.
  package func refusal(of request: AdminRequest) -> ApplianceError {
    guard let failure = try? JSONDecoder().decode(AdminFailure.self, from: Data(body)) else {
      return ApplianceError(
        .failed,
        "The appliance answered \(request.method.rawValue) \(request.target) with \(status). "
          + "It may be of another version than this command: restart it after an upgrade.")
    }
    return ApplianceError(failure.error.code, failure.error.message)
  }
}

/// The body of an answer that says no.
package struct AdminFailure: Hashable, Sendable, Codable {
  package struct Reason: Hashable, Sendable, Codable {
    package var code: ApplianceError.Code
    package var message: String
  }

  package var error: Reason
}

/// Where admin requests go.
package protocol AdminConnection: Sendable {
  /// - Throws: `ApplianceError` where there is no answer.
  func send(_ request: AdminRequest) async throws -> AdminAnswer

  /// Hands over each piece of an answer that goes on until the caller is cancelled, or the appliance stops.
  /// - Throws: `ApplianceError` where the appliance says no.
  func stream(_ request: AdminRequest, receive: (_ piece: [UInt8]) async throws -> Void) async throws
}
