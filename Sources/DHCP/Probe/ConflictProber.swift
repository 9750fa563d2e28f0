import CLinux
import DHCPWire
import Glibc
import Logging
import NetworkTypes
import Synchronization

/// Probes free addresses before they are offered: by ARP on the card's own segment, by ICMP echo behind relay
/// agents. Everything is decided in the lease machine; here is only what goes over the wire.
///
/// A help, and no more: where it cannot work, it says so, and addresses are offered without.
final class ConflictProber: Sendable {
  private let configuration: DHCPServerConfiguration
  private let responder: Responder
  private let frames: FrameSender
  private let card: MACAddress
  private let commits: CommitQueue
  private let counters: Counters
  private let complaints: Complaints
  private let observer: (any ExchangeObserver)?
  private let logger: Logger

  /// How long a network is left alone that could not be reached.
  private static let pauseMilliseconds = 60_000

  init(
    _ configuration: DHCPServerConfiguration, responder: Responder, frames: FrameSender, card: MACAddress,
    commits: CommitQueue, counters: Counters, complaints: Complaints, observer: (any ExchangeObserver)?, logger: Logger
  ) {
    self.configuration = configuration
    self.responder = responder
    self.frames = frames
    self.card = card
    self.commits = commits
    self.counters = counters
    self.complaints = complaints
    self.observer = observer
    self.logger = logger
  }

  /// Probes until `isStopping`, on the thread it is called on.
  func run(until isStopping: () -> Bool) {
    do {
      try probe(until: isStopping)
    } catch {
      logger.warning(
        "addresses are offered without a look whether a stranger uses them",
        metadata: ["interface": "\(configuration.interface)", "error": "\(error)"])
    }
  }

  private func probe(until isStopping: () -> Bool) throws(DHCPServerError) {
    let capture = try CaptureHandle(
      interface: configuration.interface, filter: ARPFrame.captureFilter, bufferBytes: 1 << 20)
    let echo = configuration.relayed.isEmpty ? nil : try Echo(source: configuration.serverAddress)
    var schedule = ProbeSchedule()
    var turn = 0
    /// Networks that could not be reached, and until when they are left alone.
    var pauses: [Int: Int] = [:]
    while !isStopping() {
      let isThere = capture.read(waiting: 100) { frame in
        // Our own address is in no pool; what the kernel asks for does not come in here.
        if let said = ARPFrame(frame) { heard(said.address, said.card, network: 0) }
      }
      // The server's own reader says why, and ends the server.
      guard isThere else { return }
      while let address = echo?.next() {
        if let network = configuration.networks.dropFirst().firstIndex(where: { $0.subnet.contains(address) }) {
          heard(address, nil, network: network)
        }
      }
      let (now, seconds) = Self.clocks
      let due = schedule.due(at: now)
      for target in due.silent {
        responder.withMachine { machine, _ in machine.silent(target.address, network: target.network, now: seconds) }
      }
      counters.ready.store(responder.withMachine { machine, _ in machine.readyCount }, ordering: .relaxed)
      // Another network begins each time, so that none waits for ever for the others.
      turn = (turn + 1) % configuration.networks.count
      let open = configuration.networks.indices.map { ($0 + turn) % configuration.networks.count }
        .filter { pauses[$0, default: .min] <= now }
      let begun = schedule.begin(at: now) { targets(atMost: $0, of: open, seconds) }
      counters.probes.wrappingAdd(begun.count, ordering: .relaxed)
      for target in due.again + begun where !ask(target, echo) {
        schedule.end(target.address)
        pauses[target.network] = now + Self.pauseMilliseconds
        responder.withMachine { machine, _ in machine.unprobed(target.address, network: target.network, now: seconds) }
      }
    }
  }

  private func targets(atMost count: Int, of networks: [Int], _ now: Int64) -> [ProbeSchedule.Target] {
    var found: [ProbeSchedule.Target] = []
    for network in networks where found.count < count {
      let addresses = responder.withMachine { machine, book in
        machine.addressesToProbe(network: network, atMost: count - found.count, now: now, book: book)
      }
      found += addresses.map { ProbeSchedule.Target(address: $0, network: network) }
    }
    return found
  }

  /// - Returns: `false` where the question did not leave.
  private func ask(_ target: ProbeSchedule.Target, _ echo: Echo?) -> Bool {
    if target.network == 0 { return frames.send(ARPFrame.probe(for: target.address, from: card)) }
    let isSent = echo?.ask(target.address) ?? false
    if !isSent, complaints.isDue(.probe) {
      logger.warning(
        """
        addresses behind a relay agent are offered without a look whether a stranger uses them, since there is no \
        route to them: give this machine one with `ip route`, or set dhcp.conflictProbe to false
        """, metadata: ["network": "\(configuration.networks[target.network].subnet)"])
    }
    return isSent
  }

  /// Somebody says that it has an address.
  private func heard(_ address: IPv4Address, _ card: MACAddress?, network: Int) {
    let now = Self.clocks.seconds
    let (finding, seconds) = responder.withMachine { machine, _ in
      let finding = machine.heard(from: address, card, network: network, now: now)
      // Under the lock that orders decisions, so that changes are written in the order in which they were made.
      if case .stranger(let lease) = finding {
        _ = commits.enqueue(Response(bytes: [], destination: .broadcast, changes: [lease]))
      }
      return (finding, machine.declineSeconds)
    }
    commits.flush()
    switch finding {
    case .none: break
    case .formerHolder:
      logger.debug("an address is still used by who had it last", metadata: ["address": "\(address)"])
    case .answersForOthers:
      if complaints.isDue(.answersForOthers) {
        logger.warning(
          """
          one card answers ARP for more than \(StrangerCount.addressLimit) addresses of the pool, so that it cannot \
          be seen which of them are used: a router with proxy ARP, or a machine that does harm; find it by its \
          hardware address in the switches' tables
          """, metadata: ["card": "\(card?.description ?? "unknown")"])
      }
    case .stranger:
      counters.conflicts.count()
      logger.warning(
        """
        a machine uses an address of the pool that it was not given; nobody gets the address for \(seconds) s; \
        give the machine an address outside of dhcp.pool, or let it ask for one
        """, metadata: ["address": "\(address)", "card": "\(card?.description ?? "unknown")"])
      observer?.observed(AddressConflict(address: address, card: card, blockedSeconds: Int(seconds)))
    }
  }

  /// Milliseconds on a clock that only goes forward, and seconds since 1970.
  private static var clocks: (milliseconds: Int, seconds: Int64) {
    var monotonic = timespec()
    clock_gettime(CLOCK_MONOTONIC, &monotonic)
    var wall = timespec()
    clock_gettime(CLOCK_REALTIME, &wall)
    return (monotonic.tv_sec * 1000 + monotonic.tv_nsec / 1_000_000, Int64(wall.tv_sec))
  }
}

/// ICMP echo from the server's own address.
private final class Echo {
  private let descriptor: CInt
  private let identifier = UInt16.random(in: .min ... .max)

  init(source: IPv4Address) throws(DHCPServerError) {
    descriptor = clinux_dhcp_open_echo(source.rawValue)
    guard descriptor >= 0 else {
      throw .failed(what: "open a socket for ICMP echo", interface: "\(source)", why: String(cString: strerror(errno)))
    }
  }

  deinit { close(descriptor) }

  /// - Returns: Whether the question left.
  func ask(_ address: IPv4Address) -> Bool {
    clinux_dhcp_send_echo(descriptor, address.rawValue, identifier, 1) == 0
  }

  /// Who has answered.
  func next() -> IPv4Address? {
    let address = clinux_dhcp_receive_echo(descriptor, identifier)
    return address == 0 ? nil : IPv4Address(rawValue: address)
  }
}
