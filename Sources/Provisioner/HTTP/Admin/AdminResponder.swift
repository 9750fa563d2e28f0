import FoundationEssentials
import HTTPTypes
import Hummingbird
import NIOCore

/// Takes each request to its route, and says no in JSON where there is none, or the request does not fit it.
struct AdminResponder: HTTPResponder {
  typealias Context = AdminContext

  private let appliance: Appliance
  /// Who a request is from.
  /// - Throws: `ApplianceError` where nobody is to be answered.
  private let identify: @Sendable (Request, AdminContext) async throws -> AdminCaller

  init(
    _ appliance: Appliance, identify: @escaping @Sendable (Request, AdminContext) async throws -> AdminCaller
  ) {
    self.appliance = appliance
    self.identify = identify
  }

  func respond(to request: Request, context: AdminContext) async throws -> Response {
    do {
      let who = try await identify(request, context)
      let (route, pieces) = try find(request)
      guard who.role >= route.role else {
        throw ApplianceError(
          .forbidden,
          "\(route.method.rawValue) /api/v1/\(route.path) needs the role \(route.role.rawValue); \(who.name) has "
            + "\(who.role.rawValue). Use a token with that role, or the command on the appliance itself.")
      }
      let query = try Self.query(request, route)
      let body = try await Self.body(request, route)
      let call = AdminCall(
        appliance: appliance, who: who, isLocal: context.isLocal, pieces: pieces, query: query, body: body,
        lastEventID: HTTPField.Name("Last-Event-ID").flatMap { request.headers[$0] },
        hangUp: { [channel = context.channel] in channel?.close(promise: nil) })
      if let schema = route.body { try call.checkBody(schema) }
      let reply = try await Changer.$name.withValue(who.name) { try await route.respond(call) }
      switch reply {
      case .json(let value): return try Self.json(value, .ok)
      case .stream(let type, let writing): return Self.stream(type, writing)
      }
    } catch {
      var response = Self.refusal(error)
      if response.status == .methodNotAllowed {
        // RFC 9110, section 15.5.6: "The origin server MUST generate an Allow header field".
        response.headers[.allow] = Self.methods(request.uri.path).joined(separator: ", ")
      }
      return response
    }
  }

  // MARK: Requests

  private func find(_ request: Request) throws -> (AdminRoute, pieces: [String: String]) {
    let pieces = try Self.pieces(request.uri.path)
    for route in AdminRoutes.all where route.method.rawValue == request.method.rawValue {
      if let values = route.match(pieces) { return (route, values) }
    }
    let path = printable(request.uri.path, 200)
    let others = Self.methods(request.uri.path)
    guard others.isEmpty else {
      throw ApplianceError(
        .notAllowed,
        "\(printable(request.method.rawValue, 20)) is not answered for \(path); allowed is "
          + others.joined(separator: ", ") + ".")
    }
    throw ApplianceError(.notFound, "There is nothing at \(path). /api/v1/openapi.json lists what there is.")
  }

  /// What a path is answered for.
  private static func methods(_ path: String) -> [String] {
    guard let pieces = try? pieces(path) else { return [] }
    return AdminRoutes.all.filter { $0.match(pieces) != nil }.map(\.method.rawValue)
  }

  /// The pieces behind `/api/v1/`, each decoded by itself, so that no name can become a path.
  private static func pieces(_ path: String) throws -> [String] {
    guard path.hasPrefix("/api/v1/"), path.utf8.count <= RequestTarget.sizeLimit else {
      throw ApplianceError(.notFound, "There is nothing at \(printable(path, 200)). The API is below /api/v1/.")
    }
    return try path.dropFirst(8).split(separator: "/", omittingEmptySubsequences: false).map { piece in
      guard let decoded = RequestTarget("/" + piece)?.path.dropFirst(), !decoded.contains("/"), decoded != ".",
        decoded != "..", !piece.contains("?"), !piece.contains("#")
      else {
        throw ApplianceError(
          .invalid, "'\(printable(String(piece), 64))' in the request's path is no name. Names have no '/' in them.")
      }
      return String(decoded)
    }
  }

  private static func query(_ request: Request, _ route: AdminRoute) throws -> [String: [String]] {
    var query: [String: [String]] = [:]
    for (name, value) in request.uri.queryParameters {
      guard let parameter = route.query.first(where: { $0.name == name }) else {
        let allowed = route.query.isEmpty ? "none" : route.query.map(\.name).joined(separator: ", ")
        throw ApplianceError(
          .invalid, "There is no parameter '\(printable(String(name), 64))' here; there are: \(allowed).")
      }
      guard parameter.isRepeated || query[parameter.name] == nil else {
        throw ApplianceError(.invalid, "\(parameter.name): found more than once, allowed is once.")
      }
      let text = String(value)
      let json: JSONValue =
        if case .integer = parameter.schema, let number = Int64(text) { .integer(number) } else { .text(text) }
      try parameter.schema.check(json, at: parameter.name)
      query[parameter.name, default: []].append(text)
    }
    return query
  }

  private static func body(_ request: Request, _ route: AdminRoute) async throws -> [UInt8] {
    guard route.body != nil else { return [] }
    if let type = request.headers[.contentType], !type.lowercased().hasPrefix("application/json") {
      throw ApplianceError(
        .invalid, "Content-Type: found '\(printable(type, 64))', allowed is application/json, or none at all.")
    }
    do {
      return Array(try await request.body.collect(upTo: route.bodyLimit).readableBytesView)
    } catch is NIOTooManyBytesError {
      throw ApplianceError(.tooLarge, "The request's body is larger than \(route.bodyLimit) bytes.")
    }
  }

  // MARK: Answers

  private static func json(_ value: some Encodable, _ status: HTTPResponse.Status) throws -> Response {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    let bytes = try encoder.encode(value)
    return Response(
      status: status, headers: [.contentType: "application/json", .cacheControl: "no-store"],
      body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
  }

  private static func stream(_ type: String, _ writing: @escaping AdminReply.Writing) -> Response {
    let body = ResponseBody { writer in
      var writer = writer
      try await writing { piece in try await writer.write(ByteBuffer(bytes: piece)) }
      try await writer.finish(nil)
    }
    return Response(status: .ok, headers: [.contentType: type, .cacheControl: "no-store"], body: body)
  }

  private static func refusal(_ error: any Error) -> Response {
    let refusal = error as? ApplianceError ?? ApplianceError(.failed, "\(error)")
    let failure = AdminFailure(error: AdminFailure.Reason(code: refusal.code, message: refusal.message))
    var response = (try? json(failure, status(of: refusal.code))) ?? Response(status: .internalServerError)
    if refusal.code == .unauthorized { response.headers[.wwwAuthenticate] = "Bearer" }
    return response
  }

  private static func status(of code: ApplianceError.Code) -> HTTPResponse.Status {
    switch code {
    case .notFound: .notFound
    case .conflict, .refused: .conflict
    case .invalid: .badRequest
    case .busy: .serviceUnavailable
    case .failed: .internalServerError
    case .tooLarge: .contentTooLarge
    case .unauthorized: .unauthorized
    case .forbidden: .forbidden
    case .notAllowed: .methodNotAllowed
    case .tooMany: .tooManyRequests
    }
  }
}
