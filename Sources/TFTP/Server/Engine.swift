import CLinux
import Glibc
import Logging
import NetworkTypes

/// The server's one thread: it waits for packets and times, asks each transfer's machine what follows, and does it.
///
/// Everything here belongs to that thread. What takes time (finding content) is done by tasks, which answer by mailbox.
final class Engine {
  private static let listeningToken = UInt64.max
  private static let mailboxToken = UInt64.max - 1
  private static let alarmToken = UInt64.max - 2
  /// Up to here tokens are those of ports; those of transfers are above.
  private static let highestPort = UInt64(UInt32.max)
  /// Questions to the source that are not answered yet; more requests wait for their client's repetition.
  static let maximumLookups = 8192
  /// A request that equals one just finished is a late copy of it.
  private static let memory: Nanoseconds = .milliseconds(250)
  /// A request that equals that of a transfer under way is a new start after this much silence, else a copy.
  static let restartSilence: Nanoseconds = .seconds(2)

  /// Packets that are taken from a line before others are looked after.
  private static let packetsInARow = 64

  /// Between two tellings of a transfer's progress.
  private static let progressInterval: Nanoseconds = .seconds(1)

  enum Conversation {
    case lookingUp(number: UInt64, request: Request, name: RequestedName, localAddress: UInt32)
    case active(UInt64)
    case finished(Request)
  }

  let configuration: ServerConfiguration
  let maximumTransfers: Int
  private let listening: Int32
  let limits: Negotiation.Limits
  let observer: any TransferObserver
  let logger: Logger
  private let mailbox: Mailbox
  let ask: (Lookup) -> Void

  let epoll: Int32
  /// Readable when the earliest of `timers` comes. A wait with a time limit would set a timer of the processor's at
  /// each packet; this one is set about as often as it fires.
  private let alarm: Int32
  private var alarmTime: Nanoseconds?
  private let sender = BlockSender()
  private let batch: PacketBatch
  private var attention = Attention()
  var opener = ContentOpener()
  var ports = PortTable()
  var transfers = TransferTable()
  var conversations: [Peer: Conversation] = [:]
  var transfersPerClient: [IPv4Address: Int] = [:]
  private var timers = TimerQueue()
  private var finished: [(peer: Peer, at: Nanoseconds)] = []
  var lookups = 0
  var lastLookup: UInt64 = 0
  var now: Nanoseconds = 0

  init(
    configuration: ServerConfiguration, maximumTransfers: Int, listening: Int32, observer: any TransferObserver,
    logger: Logger, mailbox: Mailbox, ask: @escaping (Lookup) -> Void
  ) throws(SystemError) {
    self.configuration = configuration
    self.maximumTransfers = maximumTransfers
    self.listening = listening
    self.observer = observer
    self.logger = logger
    self.mailbox = mailbox
    self.ask = ask
    // A port that is one transfer's alone is a number that whoever forges a client's address has to guess. With one
    // port for all there is nothing to guess: forged ACKs could draw a window each, and a client that was promised a
    // window waits for the whole of it. So none is promised, and a packet draws one block at most.
    limits = Negotiation.Limits(
      mtu: configuration.mtu, windowSize: configuration.usesSinglePort ? 1 : configuration.windowSize)
    batch = try PacketBatch()
    epoll = clinux_tftp_epoll_create()
    alarm = clinux_tftp_timer()
    guard epoll >= 0 else { throw SystemError(number: -epoll) }
    guard alarm >= 0 else { throw SystemError(number: -alarm) }
    for (descriptor, token) in [
      (listening, Self.listeningToken), (mailbox.descriptor, Self.mailboxToken), (alarm, Self.alarmToken),
    ] {
      let result = clinux_tftp_epoll_add(epoll, descriptor, token)
      guard result == 0 else { throw SystemError(number: -result) }
    }
  }

  deinit {
    if epoll >= 0 { close(epoll) }
    if alarm >= 0 { close(alarm) }
  }

  /// Serves until the mailbox says stop.
  func run() throws(SystemError) {
    var tokens = [UInt64](repeating: 0, count: 256)
    now = Self.clock()
    while true {
      if let next = timers.next, next != alarmTime {
        clinux_tftp_timer_set(alarm, next)
        alarmTime = next
      }
      let count = tokens.withUnsafeMutableBufferPointer {
        clinux_tftp_epoll_wait(epoll, $0.baseAddress, Int32($0.count), -1)
      }
      guard count >= 0 else { throw SystemError(number: -count) }
      now = Self.clock()
      for token in tokens.prefix(Int(count)) {
        switch token {
        case Self.listeningToken: readRequests()
        case Self.alarmToken:
          var count: UInt64 = 0
          _ = read(alarm, &count, 8)
          alarmTime = nil
        case Self.mailboxToken:
          let contents = mailbox.take()
          for (lookup, answer) in contents.answers { answered(lookup, answer) }
          if contents.isStopping {
            stop()
            return
          }
        case ...Self.highestPort: readPort(Int(token))
        default: readLine(token)
        }
      }
      while let entry = timers.popDue(at: now) { timerFired(entry) }
      sender.flush()
      forgetFinished()
    }
  }

  /// Tells every client, so that none waits for a server that is gone.
  private func stop() {
    for token in transfers.tokens {
      guard let active = transfers[token] else { continue }
      sender.send(Packet.error(.undefined, text: "the server is stopping").bytes, over: active.route)
      end(token, active, .failed("the server is stopping"))
    }
  }

  private static func clock() -> Nanoseconds {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Nanoseconds(time.tv_sec) * 1_000_000_000 + Nanoseconds(time.tv_nsec)
  }
}

// MARK: - Packets

extension Engine {
  private func isClient(_ addresses: clinux_tftp_addresses) -> Bool {
    let address = IPv4Address(rawValue: addresses.peer_address)
    return addresses.peer_port != 0 && configuration.subnets.contains { $0.contains(address) }
  }

  private func readRequests() {
    for slot in 0..<batch.receive(listening, atMost: PacketBatch.capacity) {
      let (bytes, addresses) = (batch.bytes(slot), batch.addresses(slot))
      // Anyone else hears nothing: an answer could be sent to whoever a forged address belongs to.
      guard isClient(addresses), bytes.count >= 2, bytes[0] == 0 else { continue }
      let peer = Peer(address: addresses.peer_address, port: addresses.peer_port)
      switch bytes[1] {
      case 1, 2: requested(bytes, by: peer, addresses)
      case 5:
        // Never answered: two that answer each other's errors would never end.
        if case .active(let token) = conversations[peer], configuration.usesSinglePort { packet(bytes, for: token) }
      case 3, 4, 6:
        if case .active(let token) = conversations[peer], configuration.usesSinglePort {
          packet(bytes, for: token)
        } else if !configuration.usesSinglePort {
          refuse(.unknownTransfer, "this port takes requests only", addresses)
        }
      default: refuse(.illegalOperation, "not a TFTP packet", addresses)
      }
    }
  }

  /// What came to a port of transfers, from all its clients.
  private func readPort(_ index: Int) {
    // The port may be closed by what came to it.
    guard let port = ports[index] else { return }
    // Clients without windows say one thing at a time.
    for slot in 0..<batch.receive(port.descriptor, atMost: max(1, port.running)) {
      let addresses = batch.addresses(slot)
      guard let token = port[Peer(address: addresses.peer_address, port: addresses.peer_port)] else {
        // RFC 1350 section 4: "an error packet should be sent to the originator of the incorrect packet, while not
        // disturbing the transfer".
        let bytes = batch.bytes(slot)
        if isClient(addresses), bytes.count >= 2, bytes[1] != 5 {
          let route = BlockSender.Route(descriptor: port.descriptor, addresses: addresses)
          sender.send(Packet.error(.unknownTransfer, text: "this transfer is someone else's").bytes, over: route)
        }
        continue
      }
      packet(batch.bytes(slot), for: token)
    }
  }

  /// What came to a transfer's own socket, from its client.
  private func readLine(_ token: UInt64) {
    guard let active = transfers[token], batch.receiveConnected(active.route.descriptor) else { return }
    packet(batch.bytes(0), for: token)
    for _ in 1..<Self.packetsInARow {
      guard transfers.count == 1, transfers[token] === active, attention.isWorthwhile() else { return }
      sender.flush()
      guard watch(active.route.descriptor) else { return }
      packet(batch.bytes(0), for: token)
    }
  }

  /// Looks for a line's next packet without sleeping.
  /// - Returns: Whether it came.
  private func watch(_ descriptor: Int32) -> Bool {
    let end = Self.clock() + Attention.time
    repeat {
      let isThere = batch.receiveConnected(descriptor)
      now = Self.clock()
      if isThere {
        attention.found()
        return true
      }
    } while now < end
    attention.missed()
    return false
  }

  private func packet(_ bytes: UnsafeRawBufferPointer, for token: UInt64) {
    guard let active = transfers[token], bytes.count >= 4, bytes[0] == 0 else { return }
    active.heardAt = now
    switch bytes[1] {
    case 4:
      perform(active.transfer.acknowledge(UInt16(bytes[2]) << 8 | UInt16(bytes[3]), at: now), token, active)
      if now >= active.toldAt + Self.progressInterval { tellProgress(token, active) }
    case 5:
      guard case .error(let code, let text) = Packet(parsing: bytes) else { return }
      perform(active.transfer.clientError(code, text: text), token, active)
    default: break
    }
  }

  private func tellProgress(_ token: UInt64, _ active: ActiveTransfer) {
    guard transfers[token] === active else { return }
    active.toldAt = now
    observer.observed(active.event(.progress, at: now))
  }

  func refuse(_ code: ErrorCode, _ text: String, _ addresses: clinux_tftp_addresses) {
    sender.send(Packet.error(code, text: text).bytes, over: listeningRoute(addresses))
  }

  /// From the port of requests, and from the address that was asked.
  func listeningRoute(_ addresses: clinux_tftp_addresses) -> BlockSender.Route {
    BlockSender.Route(descriptor: listening, addresses: addresses)
  }
}
// MARK: - Transfers

extension Engine {
  /// Does what a transfer's machine says.
  func perform(_ step: Transfer.Step, _ token: UInt64, _ active: ActiveTransfer) {
    if let ending = step.ending {
      end(token, active, ending)
      return
    }
    if !step.send.isEmpty {
      if step.send.lowerBound == 0 {
        let options = active.transfer.parameters.negotiation.acknowledged
        sender.send(Packet.optionAcknowledgement(options).bytes, over: active.route)
      } else {
        do {
          try sender.send(
            step.send, of: active.content, blockSize: active.transfer.parameters.negotiation.blockSize,
            numbering: active.transfer.parameters.numbering, over: &active.route)
        } catch {
          sender.send(Packet.error(.undefined, text: "\(error)").bytes, over: active.route)
          end(token, active, .failed("\(error)"))
          return
        }
      }
    }
    if active.transfer.deadline < active.scheduledAt {
      active.scheduledAt = active.transfer.deadline
      timers.add(token, at: active.scheduledAt)
    }
  }

  private func timerFired(_ entry: TimerQueue.Entry) {
    // An entry that is not the one noted belongs to a deadline that was moved forward.
    guard let active = transfers[entry.token], active.scheduledAt == entry.time else { return }
    active.scheduledAt = .max
    perform(active.transfer.timerFired(at: now), entry.token, active)
  }

  func end(_ token: UInt64, _ active: ActiveTransfer, _ ending: Transfer.Ending) {
    // Its content may go with it.
    sender.flush()
    transfers.remove(token)
    if let port = active.port { ports.release(port) }
    conversations[active.peer] = nil
    if let count = transfersPerClient[active.peer.address] {
      transfersPerClient[active.peer.address] = count > 1 ? count - 1 : nil
    }
    switch ending {
    case .finished:
      conversations[active.peer] = .finished(active.request)
      finished.append((active.peer, now))
      observer.observed(active.event(.finished, at: now))
    case .probed: observer.observed(active.event(.probed, at: now))
    case .failed(let reason): observer.observed(active.event(.failed(reason), at: now))
    }
  }

  private func forgetFinished() {
    let old = finished.prefix { now >= $0.at + Self.memory }
    guard !old.isEmpty else { return }
    for (peer, _) in old {
      if case .finished = conversations[peer] { conversations[peer] = nil }
    }
    finished.removeFirst(old.count)
  }

  func observe(_ kind: TransferEvent.Kind, _ name: RequestedName, _ peer: Peer) {
    observer.observed(
      TransferEvent(
        kind: kind, name: name.original, client: peer.address, bytes: 0, seconds: 0, retransmissions: 0, blockSize: 0,
        windowSize: 0))
  }
}
