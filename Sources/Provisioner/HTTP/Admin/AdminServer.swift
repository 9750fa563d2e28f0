import Glibc
import Hummingbird
import HummingbirdCore
package import Logging
import NIOCore
import NetworkTypes
import ServiceLifecycle

/// The admin API on the control socket, and over TCP where the configuration names a port.
///
/// The socket's file says who may: its mode is 0660, for its owner and for the group `perseid` where there is one.
/// Over TCP a token says so. A file that a killed appliance left is replaced, which is safe because whoever holds
/// the lock is the only one to serve.
package struct AdminServer: Service {
  /// What callers may take. Seconds, connections.
  package struct Limits: Hashable, Sendable {
    package var connections = 256
    /// Until a request's head has arrived whole, and between its pieces.
    package var idleSeconds: Int64 = 30

    package init() {}
  }

  private let appliance: Appliance
  private let logger: Logger
  private let limits: Limits
  private let whenReady: @Sendable () -> Void

  /// - Parameter whenReady: Called once each of its `parts` answers.
  package init(
    appliance: Appliance, limits: Limits = Limits(), logger: Logger, whenReady: @escaping @Sendable () -> Void = {}
  ) {
    self.appliance = appliance
    self.limits = limits
    self.logger = logger
    self.whenReady = whenReady
  }

  private var path: String { appliance.configuration.paths.controlSocket }
  private var admin: Configuration.Admin { appliance.configuration.admin }

  /// How many times `whenReady` is called.
  package var parts: Int { admin.port > 0 ? 2 : 1 }

  package func run() async throws {
    defer { unlink(path) }
    try await withThrowingDiscardingTaskGroup { tasks in
      tasks.addTask { try await serveSocket() }
      if admin.port > 0 { tasks.addTask { try await servePort() } }
    }
  }

  private func serveSocket() async throws {
    let identity = SocketIdentity()
    let responder = AdminResponder(appliance) { _, context in await identity.caller(context) }
    try await serve(responder, .unixDomainSocket(path: path), at: "the control socket \(path)") { [path, logger] in
      chmod(path, 0o660)
      if let problem = Self.giveToGroup(path) { logger.warning("\(problem)") }
    }
  }

  private func servePort() async throws {
    let identity = TokenIdentity(appliance, logger: logger)
    let responder = AdminResponder(appliance) { request, context in try identity.caller(request, context) }
    let place = "port \(admin.port) of \(admin.address)"
    if admin.address.bytes[0] != 127 {
      logger.warning(
        "The admin API listens on \(place) without TLS: tokens can be read on the way. Use it in a network you trust.")
    }
    try await serve(responder, .hostname("\(admin.address)", port: admin.port), at: place)
  }

  private func serve(
    _ responder: AdminResponder, _ address: BindAddress, at place: String,
    whenRunning: @escaping @Sendable () -> Void = {}
  ) async throws {
    // What went wrong is thrown, and told by whoever runs this; the rest is of interest to developers.
    var quiet = logger
    quiet.logLevel = .critical
    let application = Application(
      responder: responder, server: .http1(configuration: .init(idleTimeout: .seconds(limits.idleSeconds))),
      configuration: ApplicationConfiguration(
        address: address,
        availableConnectionsDelegate: MaximumAvailableConnections(limits.connections, logger: quiet)),
      onServerRunning: { [whenReady] _ in
        whenRunning()
        whenReady()
      },
      logger: quiet)
    do {
      try await application.run()
    } catch let error as IOError {
      throw ApplianceError(.failed, "The admin API cannot listen on \(place): " + words(error))
    } catch let error as SocketAddressError {
      throw ApplianceError(
        .failed,
        "The admin API cannot listen on \(place): \(error). A socket's path has at most 107 bytes; "
          + "choose a shorter paths.state.")
    }
  }

  /// The group `perseid`, where the system has one, may use the socket too.
  /// - Returns: What went wrong.
  private static func giveToGroup(_ path: String) -> String? {
    guard getuid() == 0 else { return nil }
    var entry = group()
    var result: UnsafeMutablePointer<group>?
    var buffer = [CChar](repeating: 0, count: 65536)
    guard getgrnam_r("perseid", &entry, &buffer, buffer.count, &result) == 0, result != nil else { return nil }
    if chown(path, uid_t.max, entry.gr_gid) == 0 { return nil }
    return "The group perseid cannot be given \(path): \(String(cString: strerror(errno)))."
  }

  private func words(_ error: IOError) -> String {
    switch error.errnoCode {
    case EADDRINUSE:
      "another program has it. `ss -ltnp 'sport = :\(admin.port)'` names it; stop it, or set another admin.port."
    case EADDRNOTAVAIL:
      "this machine has no such address. `ip addr` shows those it has; set another admin.address."
    case EACCES:
      "not permitted. Run as root, or as the owner of the state directory."
    default:
      "\(error)."
    }
  }
}
