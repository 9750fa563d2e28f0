import HTTPTypes
import Hummingbird
import Logging
import NIOCore

/// The admin API in the process that opened the appliance itself: the same routes, without a socket.
package struct LocalAdmin: AdminConnection {
  private let responder: RouterResponder<AdminContext>
  private let logger: Logger

  package init(_ appliance: Appliance) {
    responder = AdminRoutes.router(appliance).buildResponder()
    logger = appliance.logger
  }

  package func send(_ request: AdminRequest) async throws -> AdminAnswer {
    let response = try await response(to: request)
    let writer = Collector()
    try await response.body.write(writer)
    return AdminAnswer(status: response.status.code, body: writer.bytes)
  }

  /// Nothing happens in an appliance that does not run: there is nothing to follow.
  package func stream(_ request: AdminRequest, receive: (_ piece: [UInt8]) async throws -> Void) async throws {
    throw ApplianceError(
      .refused, "No appliance runs on this state directory, so there is nothing to watch. Start it first.")
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
