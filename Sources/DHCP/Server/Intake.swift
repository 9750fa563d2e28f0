import DHCPWire
import Glibc
import Logging
import NetworkTypes
import Synchronization

/// Takes packets to the responder, and its answers on: at once, or over the commit queue.
final class Intake: Sendable {
  private let responder: Responder
  private let commits: CommitQueue
  private let counters: Counters
  private let complaints: Complaints
  private let logger: Logger
  private let observer: (any ExchangeObserver)?
  private let segmentBroadcast: IPv4Address
  private let serverAddress: IPv4Address
  private let rogueWatch = Mutex(RogueWatch())

  init(
    _ configuration: DHCPServerConfiguration, responder: Responder, commits: CommitQueue,
    counters: Counters, complaints: Complaints, observer: (any ExchangeObserver)?, logger: Logger
  ) {
    self.responder = responder
    self.commits = commits
    self.counters = counters
    self.complaints = complaints
    self.observer = observer
    self.logger = logger
    segmentBroadcast = configuration.network.subnet.broadcast
    serverAddress = configuration.serverAddress
  }

  /// A frame of the capture: broadcast without a relay agent, or another server's reply, as its filter
  /// lets nothing else through.
  /// - Parameter replies: Appended to: what can leave at once.
  func received(frame: Span<UInt8>, _ replies: inout [Response]) {
    do {
      let (headers, payload) = try UDPFrame.parse(frame)
      if headers.destinationPort == DHCPPort.client {
        return heard(reply: frame.extracting(payload), in: headers)
      }
      received(message: frame.extracting(payload), wasBroadcast: true, &replies)
    } catch {
      ignored(error.kind)
    }
  }

  /// A datagram of the socket.
  /// - Parameter replies: Appended to: what can leave at once.
  func received(datagram: Span<UInt8>, sentTo destination: IPv4Address, _ replies: inout [Response]) {
    let wasBroadcast = destination == .broadcast || destination == segmentBroadcast
    // giaddr, four bytes at 24: what has none and went to everyone is the capture's.
    if wasBroadcast, datagram.count >= 28, (24..<28).allSatisfy({ datagram[$0] == 0 }) { return }
    received(message: datagram, wasBroadcast: wasBroadcast, &replies)
  }

  private func received(message bytes: Span<UInt8>, wasBroadcast: Bool, _ replies: inout [Response]) {
    let message: DHCPMessage
    do {
      message = try DHCPMessage(parsing: bytes)
    } catch {
      return ignored(error.kind)
    }
    counters.received.count()
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    var immediate: Response?
    do {
      try responder.respond(to: message, Reception(wasBroadcast: wasBroadcast), now: Int64(now.tv_sec)) { response in
        if response.changes.isEmpty {
          immediate = response
        } else if !commits.enqueue(response) {
          counters.overloaded.count()
        }
      }
    } catch {
      return ignored(error.rawValue)
    }
    guard let immediate else { return }
    if immediate.isPoolExhausted, complaints.isDue(.poolExhausted) {
      logger.warning("no address is free for a client: make dhcp.pool larger, or dhcp.leaseSeconds smaller")
    }
    if immediate.isUnprobed { counters.unprobedOffers.count() }
    replies.append(immediate)
  }

  /// Has written what was decided so far: once for many packets.
  func flush() {
    commits.flush()
  }

  /// What another server says: addresses of two servers that do not know of each other collide.
  private func heard(reply bytes: Span<UInt8>, in headers: UDPFrame) {
    guard let message = try? DHCPMessage(parsing: bytes),
      let server = OtherServer(reply: message, in: headers, own: serverAddress)
    else { return }
    report(server)
  }

  /// Says that there is another server, once a minute at most.
  func report(_ server: OtherServer) {
    counters.otherServers.count()
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    guard rogueWatch.withLock({ $0.isNews(server, at: now.tv_sec) }) else { return }
    logger.warning(
      """
      another DHCP server answers on this network, so that machines may get wrong addresses or not boot: find it by \
      its hardware address in the switches' tables and stop it, or set dhcp.mode to off if it is to be the only one
      """, metadata: ["address": "\(server.address)", "card": "\(server.card)"])
    observer?.observed(server)
  }

  private func ignored(_ kind: String) {
    counters.ignored(kind)
    logger.trace("packet ignored", metadata: ["reason": "\(kind)"])
  }
}

/// Lets each complaint through once a minute, however many packets give reason for it.
final class Complaints: Sendable {
  enum Subject: Hashable {
    case poolExhausted, commit, probe, answersForOthers
  }

  private let last = Mutex<[Subject: Int]>([:])

  func isDue(_ subject: Subject) -> Bool {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return last.withLock { last in
      if let before = last[subject], now.tv_sec - before < 60 { return false }
      last[subject] = now.tv_sec
      return true
    }
  }
}
