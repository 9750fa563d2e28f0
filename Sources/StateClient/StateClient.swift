package import CapsuleFormat
package import Glibc
package import StateProtocol

/// What went wrong between this node and the appliance.
package enum StateClientError: Error, Sendable, CustomStringConvertible {
  case http(HTTPError)
  /// The content is not what the digest or the length promises.
  case notAsPromised(url: String, expected: String, came: String)
  /// A plan that cannot be followed; nothing of it was done.
  case badPlan(url: String, reason: String)
  case local(SystemError)

  package var description: String {
    switch self {
    case .http(let error): error.description
    case .notAsPromised(let url, let expected, let came): "\(url): expected \(expected), got \(came)"
    case .badPlan(let url, let reason): "the plan from \(url) cannot be followed: \(reason)"
    case .local(let error): error.description
    }
  }
}

/// The provisionary-state client: reports states and events, and fetches what a plan names.
///
/// For use by one thread.
package struct StateClient: ~Copyable {
  private var connection: HTTPConnection
  package var server: Endpoint { connection.server }

  package init(server: Endpoint, timeouts: HTTPTimeouts = HTTPTimeouts()) {
    connection = HTTPConnection(server: server, timeouts: timeouts)
  }

  /// Reports a state.
  /// - Returns: The plan, its digest verified and every step one that can be read here.
  package mutating func report(_ report: StateReport) throws(StateClientError) -> Plan {
    let url = "http://\(server)/v1/state"
    let response = try post(report, to: "/v1/state", answer: Plan.sizeLimit, statuses: [200])
    guard let field = response.head.value(of: ContentDigest.fieldName),
      let promised = ContentDigest.digest(inFieldValue: field)
    else {
      throw .notAsPromised(url: url, expected: "a Content-Digest field with sha-256", came: "none")
    }
    let found = Digest.ofContent(response.body)
    guard found == promised else {
      throw .notAsPromised(url: url, expected: "a plan of \(promised)", came: "\(found)")
    }
    let plan: Plan
    do {
      plan = try Plan.decode(response.body)
    } catch {
      throw .badPlan(url: url, reason: error.description)
    }
    guard plan.state == report.state else {
      throw .badPlan(url: url, reason: "it is for state '\(plan.state)', not '\(report.state)'")
    }
    if let reason = PlanCheck.fault(in: plan) { throw .badPlan(url: url, reason: reason) }
    return plan
  }

  /// Reports events.
  package mutating func post(_ events: EventReport) throws(StateClientError) {
    _ = try post(events, to: "/v1/events", answer: 64 << 10, statuses: [200, 202, 204])
  }

  private mutating func post(
    _ message: some Encodable, to target: String, answer limit: Int, statuses: Set<Int>
  ) throws(StateClientError) -> HTTPResponse {
    let body: [UInt8]
    do {
      body = try ProtocolJSON.encode(message)
    } catch {
      throw .badPlan(url: target, reason: "the report cannot be written: \(error)")
    }
    let request = HTTPRequest(
      "POST", target,
      fields: [
        "Content-Type": "application/json",
        "Content-Digest": ContentDigest.fieldValue(Digest.ofContent(body)),
      ], body: body)
    do {
      let response = try connection.send(request, bodyLimit: limit)
      try Self.require(statuses, of: response, request: "POST http://\(server)\(target)")
      return response
    } catch {
      throw .http(error)
    }
  }

  private static func require(
    _ statuses: Set<Int>, of response: HTTPResponse, request: String
  ) throws(HTTPError) {
    guard !statuses.contains(response.head.status) else { return }
    let text = String(decoding: response.body.prefix(200), as: UTF8.self)
    let words = text.split(whereSeparator: \.isNewline).first ?? ""
    throw HTTPError(
      .status(response.head.status), request: request, expected: "status \(statuses.min() ?? 200)",
      came: "status \(response.head.status)\(words.isEmpty ? "" : ", '\(words)'")")
  }

  // MARK: - Content

  /// The address of content on the appliance.
  package static func target(of digest: Digest) -> String { "/blobs/sha256/\(digest.hexadecimal)" }

  /// Fetches content whole into memory, and verifies it.
  package mutating func content(_ digest: Digest, length: Int64, limit: Int) throws(StateClientError) -> [UInt8] {
    let target = Self.target(of: digest)
    let url = "http://\(server)\(target)"
    guard length >= 0, length <= Int64(limit) else {
      throw .notAsPromised(url: url, expected: "at most \(limit) bytes", came: "a promise of \(length)")
    }
    let response: HTTPResponse
    do {
      response = try connection.send(HTTPRequest("GET", target), bodyLimit: max(Int(length), 4096))
      try Self.require([200], of: response, request: "GET \(url)")
    } catch {
      throw .http(error)
    }
    try Self.verify(
      url: url, digest: digest, length: length, found: Digest.ofContent(response.body),
      count: Int64(response.body.count))
    return response.body
  }

  /// Fetches content whole into a file, and verifies it; what is not as promised is not left behind.
  package mutating func fetch(
    _ digest: Digest, length: Int64, to path: String, mode: mode_t
  ) throws(StateClientError) {
    let target = Self.target(of: digest)
    let url = "http://\(server)\(target)"
    do {
      unlink(path)
      let file = try OpenFile(path, flags: O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: mode)
      let head = try connection.begin(HTTPRequest("GET", target))
      guard head.status == 200 else {
        connection.close()
        throw StateClientError.http(
          HTTPError(.status(head.status), request: "GET \(url)", expected: "status 200", came: "status \(head.status)"))
      }
      var hash = ContentHash()
      var count: Int64 = 0
      var piece = [UInt8](repeating: 0, count: 128 << 10)
      while count <= length {
        let read = try piece.withUnsafeMutableBufferPointer { (target) throws(HTTPError) in
          try connection.read(into: UnsafeMutableRawBufferPointer(target))
        }
        if read == 0 { break }
        count += Int64(read)
        piece.withUnsafeBytes { hash.update(UnsafeRawBufferPointer(rebasing: $0[..<read])) }
        try file.write(piece, count: read, to: path)
      }
      try Self.verify(url: url, digest: digest, length: length, found: hash.finish(), count: count)
      try check("set the mode of \(path)") { fchmod(file.descriptor, mode) }
    } catch {
      unlink(path)
      switch error {
      case let error as StateClientError: throw error
      case let error as HTTPError: throw .http(error)
      case let error as SystemError: throw .local(error)
      default: throw .badPlan(url: url, reason: "\(error)")
      }
    }
  }

  private static func verify(
    url: String, digest: Digest, length: Int64, found: Digest, count: Int64
  ) throws(StateClientError) {
    guard count == length else {
      throw .notAsPromised(url: url, expected: "\(length) bytes", came: "\(count > length ? "more" : "\(count)")")
    }
    guard found == digest else {
      throw .notAsPromised(url: url, expected: "content of \(digest)", came: "\(found)")
    }
  }
}
