import CLinux
import Glibc
package import Logging
import NIOPosix
import NetworkTypes
import ServiceLifecycle
import Synchronization

/// Ends the search for an IPv6 router of the nodes on one interface (see ``RouterSearch``).
///
/// A convenience: where it cannot work, it says so and stands aside, and nodes boot later.
package final class RouterSearchService: Service {
  private let interface: String
  private let logger: Logger
  private let whenReady: @Sendable () -> Void
  private let isStopping = Atomic(false)
  private let answered = Atomic(0)

  /// - Parameter whenReady: Called once questions are heard, or it is clear that they will not be.
  package init(interface: String, logger: Logger, whenReady: @escaping @Sendable () -> Void = {}) {
    self.interface = interface
    self.logger = logger
    self.whenReady = whenReady
  }

  /// Answers sent.
  package var answers: Int { answered.load(ordering: .relaxed) }

  /// Answers until graceful shutdown or cancellation. Never throws for what it meets on the network.
  package func run() async throws {
    let threads = NIOThreadPool(numberOfThreads: 1)
    threads.start()
    await withTaskCancellationHandler {
      await withGracefulShutdownHandler {
        // The thread outlives a stop by at most one poll.
        do { try await threads.runIfActive { try self.serve() } } catch { self.explain(error) }
      } onGracefulShutdown: {
        self.isStopping.store(true, ordering: .relaxed)
      }
    } onCancel: {
      isStopping.store(true, ordering: .relaxed)
    }
    try await threads.shutdownGracefully()
    // A service that ends before it is told to would end the others.
    if !isStopping.load(ordering: .relaxed) { try? await gracefulShutdown() }
  }

  private func explain(_ error: any Error) {
    whenReady()
    logger.warning(
      """
      machines that look for an IPv6 router get no answer here, so that iPXE takes up to 16 seconds longer to boot; \
      the rest of the appliance is not affected
      """, metadata: ["interface": "\(interface)", "error": "\(error)"])
  }

  private func serve() throws(DHCPServerError) {
    let card = try Interface.hardwareAddress(of: interface)
    let capture = try CaptureHandle(
      interface: interface, filter: RouterMessage.captureFilter, bufferBytes: 1 << 20)
    // What this machine sends, as long as somebody searches: the router may be a program on it.
    var outgoing: CaptureHandle?
    let membership = clinux_dhcp_join_all_routers(interface)
    guard membership >= 0 else {
      throw .failed(
        what: "join the group of IPv6 routers", interface: interface, why: String(cString: strerror(errno)))
    }
    defer { close(membership) }
    whenReady()
    var search = RouterSearch(ownCard: card)
    var hadRouter = false
    while !isStopping.load(ordering: .relaxed) {
      let wait = search.nextAnswer.map { min(0.2, max(0, $0 - Self.now)) } ?? 0.2
      let isThere = capture.read(waiting: Int32((wait * 1000).rounded(.up))) { frame in
        if let message = RouterMessage(frame) { search.heard(message, at: Self.now) }
      }
      guard isThere else {
        throw .failed(
          what: "hear IPv6 router solicitations any more", interface: interface,
          why: "the interface went down or away; bring it up and start again")
      }
      let now = Self.now
      if !search.isSearched(at: now) {
        outgoing = nil
      } else if outgoing == nil {
        outgoing = try CaptureHandle(
          interface: interface, filter: RouterMessage.captureFilter, bufferBytes: 1 << 18, direction: .outgoing)
      }
      _ = outgoing?.read(limit: .max) { frame in
        if case .advertisement(let card, let offersAnything) = RouterMessage(frame) {
          search.heard(.advertisement(card: card, offersAnything: offersAnything), at: now)
        }
      }
      if search.hearsRouter(at: now) != hadRouter {
        hadRouter.toggle()
        logger.debug("IPv6 router", metadata: ["interface": "\(interface)", "heard": "\(hadRouter)"])
      }
      let due = search.answersDue(at: now)
      if due.isEmpty { continue }
      let source = linkLocalAddress ?? .linkLocal(of: card)
      for answer in due {
        let frame = RouterMessage.emptyAdvertisement(from: card, source, to: answer.card, answer.source)
        guard capture.inject(frame) else { continue }
        answered.count()
        logger.debug(
          "a machine's search for an IPv6 router is ended: there is none",
          metadata: ["interface": "\(interface)", "card": "\(answer.card)"])
      }
    }
  }

  private var linkLocalAddress: IPv6Address? {
    var bytes = [UInt8](repeating: 0, count: 16)
    guard clinux_dhcp_link_local_address(interface, &bytes) == 0 else { return nil }
    func half(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
    return IPv6Address(upper: half(bytes[..<8]), lower: half(bytes[8...]))
  }

  /// Seconds on the monotonic clock.
  private static var now: Double {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return Double(now.tv_sec) + Double(now.tv_nsec) / 1e9
  }
}
