import CapsuleFormat
import FoundationEssentials
import HTTPTypes
import Hummingbird
import Logging
import ServiceLifecycle

/// The admin API: each route calls one method of the appliance, and its answer is JSON.
///
/// Nodes are named by `node=PATTERN` in the query, as often as wanted. A refusal is an `AdminFailure`.
enum AdminRoutes {
  static func router(_ appliance: Appliance) -> Router<AdminContext> {
    let router = Router(context: AdminContext.self)
    let api = router.group("api/v1")
    api.get("info") { _, _ in await answer { appliance.info() } }
    addNodes(to: api, appliance)
    addGroups(to: api, appliance)
    addCapsules(to: api, appliance)
    api.get("watch") { request, _ in watch(appliance, node: patterns(request).first) }
    return router
  }

  private static func addNodes(to api: RouterGroup<AdminContext>, _ appliance: Appliance) {
    api.get("nodes") { request, _ in await answer { try appliance.nodes(patterns(request)) } }
    api.post("nodes") { request, context in
      await answer { try await appliance.addNode(try await body(AddNode.self, of: request)) }
    }
    api.patch("nodes") { request, _ in
      await answer {
        let change = try await body(SetNodes.self, of: request)
        return try await appliance.setNodes(change.nodes, key: change.key, value: change.value)
      }
    }
    api.delete("nodes") { request, _ in await answer { try await appliance.deleteNodes(patterns(request)) } }
    api.get("nodes/:name/timeline") { request, context in
      await answer {
        try await appliance.nodeTimeline(name(context), boot: request.uri.queryParameters["boot"].map { String($0) })
      }
    }
    api.get("nodes/:name/why") { _, context in await answer { try appliance.nodeWhy(name(context)) } }
    api.get("nodes/:name/trace") { request, context in
      await stream("application/x-pcapng") {
        let query = request.uri.queryParameters
        let limits = NodeTrace.Limits(
          isLive: query["kept"] == nil, seconds: try number("seconds", query["seconds"], 600),
          bytes: try number("bytes", query["bytes"], 64 << 20))
        let trace = try appliance.trace(name(context), limits)
        return { write in try await trace.run(write) }
      }
    }
    api.get("status") { request, _ in await answer { try appliance.nodeStatus(patterns(request)) } }
    api.get("summary/nodes") { _, _ in await answer { try appliance.nodeSummary() } }
    api.get("summary/groups") { _, _ in await answer { try appliance.groupSummary() } }
  }

  private static func addGroups(to api: RouterGroup<AdminContext>, _ appliance: Appliance) {
    api.get("groups") { _, _ in await answer { appliance.groups() } }
    api.get("groups/:name") { _, context in await answer { try appliance.group(name(context)) } }
    api.patch("groups/:name") { request, context in
      await answer {
        let change = try await body(SetGroup.self, of: request)
        return try await appliance.setGroup(name(context), key: change.key, value: change.value)
      }
    }
    api.delete("groups/:name") { _, context in await answer { try await appliance.deleteGroup(name(context)) } }
    api.get("groups/:name/nodes") { _, context in await answer { try appliance.groupNodes(name(context)) } }
    api.get("groups/:name/status") { _, context in await answer { try appliance.groupStatus(name(context)) } }
  }

  private static func addCapsules(to api: RouterGroup<AdminContext>, _ appliance: Appliance) {
    api.get("vnfs") { _, _ in await answer { appliance.capsules() } }
    api.get("vnfs/:name") { _, context in await answer { try appliance.capsule(name(context)) } }
    api.post("vnfs") { request, _ in
      await answer {
        let capsule = try await body(RegisterCapsule.self, of: request)
        return try await appliance.registerCapsule(capsule.name, digest: capsule.digest)
      }
    }
    api.delete("vnfs/:name") { _, context in await answer { try await appliance.deleteCapsule(name(context)) } }
  }

  // MARK: Requests

  /// Largest body that is read, in bytes.
  private static let bodyLimit = 1 << 20

  private static func patterns(_ request: Request) -> [String] {
    request.uri.queryParameters.getAll("node").map { String($0) }
  }

  private static func name(_ context: AdminContext) throws -> String {
    let name = try context.parameters.require("name")
    return RequestTarget("/" + name).map { String($0.path.dropFirst()) } ?? name
  }

  private static func body<Body: Decodable>(_ type: Body.Type, of request: Request) async throws -> Body {
    let buffer = try await request.body.collect(upTo: bodyLimit)
    do {
      return try JSONDecoder().decode(type, from: Data(buffer.readableBytesView))
    } catch {
      throw ApplianceError(.invalid, "The request's body cannot be read: \(error)")
    }
  }

  private static func number(_ name: String, _ text: Substring?, _ otherwise: Int) throws -> Int {
    guard let text else { return otherwise }
    guard let number = Int(text) else {
      throw ApplianceError(.invalid, "\(name): '\(text)' is not allowed; allowed is a whole number.")
    }
    return number
  }

  // MARK: Answers

  private static func answer<Value: Encodable>(_ make: () async throws -> Value) async -> Response {
    do { return try json(try await make(), .ok) } catch { return refusal(error) }
  }

  private static func refusal(_ error: any Error) -> Response {
    let refusal =
      error as? ApplianceError ?? ApplianceError(.failed, "\((error as? HTTPError)?.body ?? "\(error)")")
    let failure = AdminFailure(error: AdminFailure.Reason(code: refusal.code, message: refusal.message))
    return (try? json(failure, status(of: refusal.code))) ?? Response(status: .internalServerError)
  }

  /// An answer that goes on, once `prepare` has found that there is one.
  private static func stream(
    _ type: String,
    _ prepare: () throws -> @Sendable (_ write: @escaping ([UInt8]) async throws -> Void) async throws -> Void
  ) async -> Response {
    do {
      let run = try prepare()
      let body = ResponseBody { writer in
        var writer = writer
        try await run { piece in try await writer.write(ByteBuffer(bytes: piece)) }
        try await writer.finish(nil)
      }
      return Response(status: .ok, headers: [.contentType: type, .cacheControl: "no-store"], body: body)
    } catch {
      return refusal(error)
    }
  }

  private static func json(_ value: some Encodable, _ status: HTTPResponse.Status) throws -> Response {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    let bytes = try encoder.encode(value)
    return Response(
      status: status, headers: [.contentType: "application/json", .cacheControl: "no-store"],
      body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
  }

  private static func status(of code: ApplianceError.Code) -> HTTPResponse.Status {
    switch code {
    case .notFound: .notFound
    case .conflict, .refused: .conflict
    case .invalid: .badRequest
    case .busy: .serviceUnavailable
    case .failed: .internalServerError
    }
  }

  /// Server-sent events: one JSON timeline event in each; a comment now and then, so that both ends
  /// notice when the other is gone.
  private static func watch(_ appliance: Appliance, node: String?) -> Response {
    let body = ResponseBody { writer in
      let (pieces, continuation) = AsyncStream.makeStream(of: ByteBuffer.self, bufferingPolicy: .bufferingNewest(4096))
      let events = appliance.watch(node: node)
      continuation.yield(ByteBuffer(string: ": watching\n\n"))
      try await withThrowingTaskGroup(of: Void.self) { tasks in
        tasks.addTask {
          defer { continuation.finish() }
          let encoder = JSONEncoder()
          encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
          for await event in events.cancelOnGracefulShutdown() {
            let json = try encoder.encode(event)
            continuation.yield(ByteBuffer(string: "data: " + String(decoding: json, as: UTF8.self) + "\n\n"))
          }
        }
        tasks.addTask {
          while true {
            try await Task.sleep(for: .seconds(15))
            continuation.yield(ByteBuffer(string: ": still there\n\n"))
          }
        }
        defer { tasks.cancelAll() }
        for await piece in pieces { try await writer.write(piece) }
      }
      try await writer.finish(nil)
    }
    return Response(
      status: .ok, headers: [.contentType: "text/event-stream", .cacheControl: "no-store"], body: body)
  }
}

/// What a request is answered with, besides the appliance: nothing. It is made for requests of the
/// network, and for those of a verb in its own process.
struct AdminContext: RequestContext {
  var coreContext: CoreRequestContextStorage

  init(source: ApplicationRequestContextSource) {
    coreContext = CoreRequestContextStorage(source: source)
  }

  init(logger: Logger) {
    coreContext = CoreRequestContextStorage(source: LocalSource(logger: logger))
  }

  private struct LocalSource: RequestContextSource {
    var logger: Logger
  }
}
