import DHCPWire
import Glibc
package import Logging
import NIOCore
import NIOPosix
import NetworkTypes
import ServiceLifecycle
import Synchronization

/// The DHCP server of one interface.
///
/// Every packet has one owner: what is sent to everyone and did not pass a relay agent belongs to the
/// capture, all else to the UDP socket, which drops what the capture owns. Replies leave when their
/// leases are on the disk; an OFFER writes nothing and leaves at once.
package final class DHCPServer: Service {
  package let configuration: DHCPServerConfiguration
  private let policy: any ClientPolicy
  private let store: any LeaseStore
  private let observer: (any ExchangeObserver)?
  private let logger: Logger
  private let whenReady: @Sendable () -> Void
  private let counters = Counters()
  private let commits = CommitQueue(capacity: 8192)
  private let complaints = Complaints()

  /// Memory for broadcasts that wait to be read: those of some eight thousand machines switched on at once.
  private static let captureBuffer: Int32 = 16 << 20
  /// How often other servers are asked for.
  private static let searchPause = Duration.seconds(300)

  /// - Parameters:
  ///   - observer: Told of every exchange; without one, none is put into words.
  ///   - whenReady: Called once both the capture and the socket answer.
  package init(
    configuration: DHCPServerConfiguration, policy: any ClientPolicy, store: any LeaseStore,
    observer: (any ExchangeObserver)? = nil, logger: Logger, whenReady: @escaping @Sendable () -> Void = {}
  ) {
    self.configuration = configuration
    self.policy = policy
    self.store = store
    self.observer = observer
    self.logger = logger
    self.whenReady = whenReady
  }

  package var statistics: DHCPStatistics { counters.snapshot }

  /// Serves until graceful shutdown or cancellation.
  /// - Throws: ``DHCPServerError`` where it cannot start; what the lease store throws when it is read.
  package func run() async throws {
    switch configuration.mode {
    case .authoritative, .proxy:
      try await serve()
    case .off:
      whenReady()
      try? await gracefulShutdown()
    }
  }

  private func serve() async throws {
    let interface = configuration.interface
    let card = try Interface.hardwareAddress(of: interface)
    let capture = try CaptureHandle(
      interface: interface, filter: Self.filter(for: configuration, card: card), bufferBytes: Self.captureBuffer)
    let frames = try FrameSender(interface: interface)
    let socket = try ServerSocket.open(interface: interface)
    ServerSocket.leaveToCapture(socket, segmentBroadcast: configuration.network.subnet.broadcast)
    let responder: Responder
    let senders: (atOnce: ReplySender, committed: ReplySender)
    let others: [OtherServer]
    do {
      let sender: () throws -> ReplySender = { [self] in
        try ReplySender(
          configuration, card: card, duplicating: socket, counters: counters, observer: observer, logger: logger)
      }
      senders = (try sender(), try sender())
      responder = Responder(
        configuration, policy: policy, leases: configuration.givesAddresses ? try await store.leases() : [],
        isObserved: observer != nil)
      others = try await otherServers()
    } catch {
      close(socket)
      throw error
    }
    let intake = Intake(
      configuration, responder: responder, commits: commits, counters: counters, complaints: complaints,
      observer: observer, logger: logger)
    for server in others { intake.report(server) }
    let prober = ConflictProber(
      configuration, responder: responder, frames: frames, card: card, commits: commits, counters: counters,
      complaints: complaints, observer: observer, logger: logger)
    let reader = try PacketReader(
      capture: capture, socket: socket, interface: interface, intake: intake, sender: senders.atOnce)
    if configuration.givesAddresses, configuration.searchMilliseconds > 0 {
      // The answers come in with all else: on a switch, what other servers say to a client goes to that client alone.
      reader.repeat(every: Self.searchPause) {
        let card = try Interface.hardwareAddress(of: interface)
        _ = frames.send(ServerSearch.question(from: card))
      }
    }
    let bootServer = try await PXEPort.open(
      configuration, responder: responder, counters: counters, observer: observer, logger: logger)
    let stop: @Sendable () -> Void = {
      reader.stop()
      bootServer.close(promise: nil)
    }
    try await withTaskCancellationHandler {
      try await withGracefulShutdownHandler {
        try await work(reader, senders.committed, prober, bootServer)
      } onGracefulShutdown: {
        stop()
      }
    } onCancel: {
      stop()
    }
  }

  /// Looks before anybody is answered. Who asks meanwhile waits in the buffers of capture and socket, and is answered
  /// when this is over. Beside another server there is nothing to look for.
  private func otherServers() async throws -> [OtherServer] {
    let milliseconds = configuration.searchMilliseconds
    guard milliseconds > 0, configuration.givesAddresses else { return [] }
    let (interface, own) = (configuration.interface, configuration.serverAddress)
    let found = try await NIOThreadPool.singleton.runIfActive {
      try ServerSearch.servers(on: interface, own: own, milliseconds: milliseconds, isFirstEnough: true)
    }
    if found.isEmpty {
      logger.info("no other DHCP server answers on this network", metadata: ["interface": "\(interface)"])
    }
    return found
  }

  private func work(
    _ reader: PacketReader, _ sender: ReplySender, _ prober: ConflictProber, _ bootServer: any Channel
  ) async throws {
    let threads = NIOThreadPool(numberOfThreads: 2)
    threads.start()
    logger.info(
      "DHCP answers",
      metadata: [
        "interface": "\(configuration.interface)", "address": "\(configuration.serverAddress)",
        "mode": "\(configuration.mode.rawValue)",
      ])
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { await self.commits.run { self.commit($0, sender, done: $1) } }
      group.addTask { try await bootServer.closeFuture.get() }
      group.addTask {
        // The reading thread outlives cancellation by at most one poll, since it stops by the flag.
        defer {
          reader.stop()
          bootServer.close(promise: nil)
          self.commits.finish()
        }
        do {
          try await threads.runIfActive { try reader.run() }
        } catch is CancellationError {
          // Stopped before the thread began: that is no failure.
        }
      }
      if configuration.givesAddresses, configuration.probesConflicts {
        group.addTask {
          // It throws only where the server was stopped before the thread began.
          try? await threads.runIfActive { prober.run(until: { reader.isStopping }) }
        }
      }
      whenReady()
      try await group.waitForAll()
    }
    try await threads.shutdownGracefully()
  }

  private func commit(_ batch: [Response], _ sender: ReplySender, done: @escaping @Sendable () -> Void) {
    store.commit(batch.flatMap(\.changes)) { [counters, complaints, logger] error in
      defer { done() }
      guard let error else { return sender.send(batch) }
      counters.uncommitted.wrappingAdd(batch.count, ordering: .relaxed)
      if complaints.isDue(.commit) {
        logger.error(
          "leases could not be written, so no client gets an ACK; look at the disk of the state directory",
          metadata: ["leases": "\(batch.count)", "error": "\(error)"])
      }
    }
  }

  /// What the capture owns: sent to everyone on the segment, not passed on by a relay agent (`giaddr`,
  /// four bytes at 24 of the message and 32 of the datagram, is zero). And what other servers say to clients, unless
  /// addresses are theirs to give.
  private static func filter(for configuration: DHCPServerConfiguration, card: MACAddress) -> String {
    let everyone = Set([IPv4Address.broadcast, configuration.network.subnet.broadcast])
    let hosts = everyone.sorted().map { "dst host \($0)" }.joined(separator: " or ")
    let requests = "udp dst port \(DHCPPort.server) and (\(hosts)) and udp[32:4] = 0"
    if !configuration.givesAddresses { return requests }
    let replies = "udp src port \(DHCPPort.server) and udp dst port \(DHCPPort.client) and not ether src \(card)"
    return "(\(requests)) or (\(replies))"
  }
}
