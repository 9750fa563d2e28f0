import Glibc
import Hummingbird
package import Logging
import NIOCore
import ServiceLifecycle

/// The admin API on the control socket, and on a TCP port of loopback where the configuration names one.
///
/// The socket's file says who may: its mode is 0660. A file that a killed appliance left there is
/// replaced, which is safe because whoever holds the lock is the only one to serve.
package struct AdminServer: Service {
  private let appliance: Appliance
  private let logger: Logger
  private let whenReady: @Sendable () -> Void

  /// - Parameter whenReady: Called once each of its `parts` answers.
  package init(appliance: Appliance, logger: Logger, whenReady: @escaping @Sendable () -> Void = {}) {
    self.appliance = appliance
    self.logger = logger
    self.whenReady = whenReady
  }

  private var path: String { appliance.configuration.paths.controlSocket }
  private var port: Int { appliance.configuration.admin.port }

  /// How many times `whenReady` is called.
  package var parts: Int { port > 0 ? 2 : 1 }

  package func run() async throws {
    defer { unlink(path) }
    try await withThrowingDiscardingTaskGroup { tasks in
      tasks.addTask { try await serve(.unixDomainSocket(path: path), at: "the control socket \(path)") }
      if port > 0 {
        tasks.addTask { try await serve(.hostname("127.0.0.1", port: port), at: "port \(port) of loopback") }
      }
    }
  }

  private func serve(_ address: BindAddress, at place: String) async throws {
    // What went wrong is thrown, and told by whoever runs this; the rest is of interest to developers.
    var quiet = logger
    quiet.logLevel = .critical
    let isSocket = place.hasPrefix("the control socket")
    let responder = AdminResponder(appliance) { _, _ in AdminCaller(name: "someone on this machine", role: .admin) }
    let application = Application(
      responder: responder, configuration: ApplicationConfiguration(address: address),
      onServerRunning: { [path, whenReady] _ in
        if isSocket { chmod(path, 0o660) }
        whenReady()
      },
      logger: quiet)
    do {
      try await application.run()
    } catch let error as IOError {
      throw ApplianceError(.failed, "The admin API cannot listen on \(place): " + Self.words(error, port: port))
    } catch let error as SocketAddressError {
      throw ApplianceError(
        .failed,
        "The admin API cannot listen on \(place): \(error). A socket's path has at most 107 bytes; "
          + "choose a shorter paths.state.")
    }
  }

  private static func words(_ error: IOError, port: Int) -> String {
    switch error.errnoCode {
    case EADDRINUSE:
      "another program has it. `ss -ltnp 'sport = :\(port)'` names it; stop it, or set another admin.port."
    case EACCES:
      "not permitted. Run as root, or as the owner of the state directory."
    default:
      "\(error)."
    }
  }
}
