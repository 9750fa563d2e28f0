import Glibc
import HTTPTypes
import Hummingbird
import Logging
import NIOCore

/// The admin API in the process that opened the appliance itself: the same routes, without a socket.
package struct LocalAdmin: AdminConnection {
  private let responder: AdminResponder
  private let logger: Logger

  package init(_ appliance: Appliance) {
    let caller = AdminCaller(name: SocketIdentity.userName(getuid()), role: .admin)
    responder = AdminResponder(appliance) { _, _ in caller }
    logger = appliance.logger
  }

  package func send(_ request: AdminRequest) async throws -> AdminAnswer {
    let response = try await response(to: request)
    let writer = Collector()
    try await response.body.write(writer)
    return AdminAnswer(status: response.status.code, body: writer.bytes)
  }

  package func stream(_ request: AdminRequest, receive: (_ piece: [UInt8]) async throws -> Void) async throws {
    let response = try await response(to: request)
    let (pieces, continuation) = AsyncStream.makeStream(of: [UInt8].self)
    guard response.status == .ok else {
      let writer = Collector()
      try await response.body.write(writer)
      throw AdminAnswer(status: response.status.code, body: writer.bytes).refusal(of: request)
    }
    try await withThrowingTaskGroup { tasks in
      tasks.addTask {
        defer { continuation.finish() }
        try await response.body.write(Forwarder(continuation: continuation))
      }
      for await piece in pieces { try await receive(piece) }
      try await tasks.waitForAll()
    }
  }

  private struct Forwarder: ResponseBodyWriter {
    var continuation: AsyncStream<[UInt8]>.Continuation

    func write(_ buffer: ByteBuffer) async throws { continuation.yield(Array(buffer.readableBytesView)) }

    func finish(_ trailingHeaders: HTTPFields?) async throws {}
  }

  private func response(to request: AdminRequest) async throws -> Response {
    let head = HTTPRequest(
      method: HTTPRequest.Method(rawValue: request.method.rawValue) ?? .get, scheme: "http", authority: "localhost",
      path: request.target)
    let body = RequestBody(buffer: ByteBuffer(bytes: request.body ?? []))
    return try await responder.respond(to: Request(head: head, body: body), context: AdminContext(logger: logger))
  }

  private final class Collector: ResponseBodyWriter {
    private(set) var bytes: [UInt8] = []

    func write(_ buffer: ByteBuffer) async throws { bytes += buffer.readableBytesView }

    func finish(_ trailingHeaders: HTTPFields?) async throws {}
  }
}
