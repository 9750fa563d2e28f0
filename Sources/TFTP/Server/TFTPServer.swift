import CLinux
package import Logging
import NIOPosix
import ServiceLifecycle

/// A TFTP server for boot ROMs: it reads content from a source by name, never from a path, and takes no uploads.
///
/// RFC 1350, 1123, 2347, 2348, 2349, 7440. The socket is bound when the server is made, so what cannot work is known
/// before anything else starts, and requests that come before `run` are answered once it runs.
package final class TFTPServer: Service {
  private let configuration: ServerConfiguration
  private let socket: UDPSocket
  private let maximumTransfers: Int
  private let source: any ContentSource
  private let observer: any TransferObserver
  private let logger: Logger
  private let mailbox: Mailbox
  /// The UDP port of requests.
  package let port: Int

  /// Descriptors that are left to the rest of the process.
  private static let descriptorsOfOthers = 256

  /// - Throws: `TFTPStartError` where the port cannot be had.
  package init(
    _ configuration: ServerConfiguration, source: any ContentSource, observer: any TransferObserver, logger: Logger
  ) throws(TFTPStartError) {
    guard (0...65535).contains(configuration.port) else { throw TFTPStartError(port: configuration.port) }
    do {
      socket = try UDPSocket(address: configuration.address, port: configuration.port, tellsLocalAddress: true)
      // A thousand machines that are switched on at once: each request that finds no room costs its sender seconds.
      clinux_tftp_receive_buffer(socket.descriptor, 8 << 20)
      port = try socket.port
      mailbox = try Mailbox()
    } catch {
      throw TFTPStartError(configuration, error)
    }
    self.configuration = configuration
    self.source = source
    self.observer = observer
    self.logger = logger
    let wanted = configuration.maximumTransfers + Self.descriptorsOfOthers
    let granted = Int(clamping: clinux_tftp_reserve_descriptors(UInt64(clamping: wanted)))
    maximumTransfers = max(1, min(configuration.maximumTransfers, granted - Self.descriptorsOfOthers))
  }

  /// Serves until the task is cancelled or shut down gracefully; transfers under way are told with an ERROR then.
  package func run() async throws {
    let (lookups, continuation) = AsyncStream.makeStream(of: Lookup.self)
    // The thread waits in the kernel for packets: it must not be one of those that run tasks.
    let threads = NIOThreadPool(numberOfThreads: 1)
    threads.start()
    logger.info("TFTP is listening", metadata: ["address": "\(configuration.address)", "port": "\(port)"])
    let result: Result<Void, any Error>
    do {
      try await withTaskCancellationOrGracefulShutdownHandler {
        try await withThrowingDiscardingTaskGroup { group in
          group.addTask {
            defer { continuation.finish() }
            try await threads.runIfActive {
              try Engine(
                configuration: self.configuration, maximumTransfers: self.maximumTransfers,
                listening: self.socket.descriptor, observer: self.observer, logger: self.logger,
                mailbox: self.mailbox, ask: { continuation.yield($0) }
              ).run()
            }
          }
          for await lookup in lookups {
            group.addTask {
              self.mailbox.post(await lookup.ask(self.source), to: lookup)
            }
          }
        }
      } onCancelOrGracefulShutdown: {
        self.mailbox.stop()
      }
      result = .success(())
    } catch is CancellationError {
      // Asked to stop before the thread had begun.
      result = .success(())
    } catch {
      result = .failure(error)
    }
    try await threads.shutdownGracefully()
    try result.get()
  }
}
