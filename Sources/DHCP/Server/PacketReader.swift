import DHCPWire
import Glibc
import NetworkTypes
import Synchronization

/// Reads the capture and the UDP socket in turns on one thread, and sends what can be answered at once.
///
/// One thread answers everything that needs no disk, so nothing is ever decided in parallel and no lock
/// is fought for; many packets are taken and many replies sent by one system call when there are many.
final class PacketReader: Sendable {
  private struct Sources: ~Copyable {
    let capture: CaptureHandle
    let socket: CInt
    let datagrams: DatagramBatch

    deinit {
      close(socket)
    }
  }

  private let sources: Mutex<Sources>
  private let interface: String
  private let intake: Intake
  private let sender: ReplySender
  private let isEnding = Atomic(false)
  private let repeated = Mutex<Repeated?>(nil)

  /// Something to do now and then.
  private struct Repeated {
    var pause: Duration
    var next: ContinuousClock.Instant
    var body: @Sendable () throws -> Void
  }

  /// How long the thread waits before it looks whether it is to end, in milliseconds.
  private static let pollMilliseconds: Int32 = 200

  /// - Parameter socket: A bound socket that does not wait; closed in the end.
  init(
    capture: consuming sending CaptureHandle, socket: CInt, interface: String, intake: Intake, sender: ReplySender
  ) throws(DHCPServerError) {
    // One byte more than is read: so a datagram that was cut shows.
    let datagrams: DatagramBatch
    do {
      datagrams = try DatagramBatch(bytes: DHCPMessage.maximumLength + 1, interface: interface)
    } catch {
      close(socket)
      throw error
    }
    sources = Mutex(Sources(capture: capture, socket: socket, datagrams: datagrams))
    self.interface = interface
    self.intake = intake
    self.sender = sender
  }

  /// Has the reading thread do something now and then.
  func `repeat`(every pause: Duration, _ body: @escaping @Sendable () throws -> Void) {
    repeated.withLock { $0 = Repeated(pause: pause, next: .now + pause, body: body) }
  }

  private func repeatWhereDue() throws {
    let body: (@Sendable () throws -> Void)? = repeated.withLock { repeated in
      guard let one = repeated, one.next <= .now else { return nil }
      repeated?.next = .now + one.pause
      return one.body
    }
    try body?()
  }

  /// Ends ``run()`` soon.
  func stop() {
    isEnding.store(true, ordering: .relaxed)
  }

  var isStopping: Bool { isEnding.load(ordering: .relaxed) }

  /// Reads until ``stop()``. Takes a thread of its own.
  /// - Throws: ``DHCPServerError`` where the interface is gone.
  func run() throws {
    try sources.withLock { sources in
      var replies: [Response] = []
      var turns = Turns()
      while !isStopping {
        try repeatWhereDue()
        var descriptors = [
          pollfd(fd: sources.capture.descriptor, events: Int16(POLLIN), revents: 0),
          pollfd(fd: sources.socket, events: Int16(POLLIN), revents: 0),
        ]
        guard poll(&descriptors, 2, Self.pollMilliseconds) > 0 else { continue }
        let beginning = Self.clock()
        var isMore = false
        // As many of each before the other has its turn: neither can starve the other.
        if descriptors[0].revents != 0 {
          var count = 0
          let isThere = sources.capture.read(limit: DatagramBatch.capacity) {
            intake.received(frame: $0, &replies)
            count += 1
          }
          guard isThere else {
            throw DHCPServerError.failed(
              what: "read frames any more", interface: interface,
              why: "the interface went down or away; bring it up and start again")
          }
          isMore = count == DatagramBatch.capacity
        }
        if descriptors[1].revents != 0 {
          let isFull = sources.datagrams.receive(from: sources.socket) {
            intake.received(datagram: $0, sentTo: $1, &replies)
          }
          isMore = isMore || isFull
        }
        // The disk works while the replies that need none are sent.
        intake.flush()
        if !replies.isEmpty {
          sender.send(replies)
          replies.removeAll(keepingCapacity: true)
        }
        if !isMore, let pause = turns.pause(from: beginning, to: Self.clock()) {
          var time = timespec(tv_sec: 0, tv_nsec: Int(pause))
          nanosleep(&time, nil)
        }
      }
    }
  }

  private static func clock() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
  }
}

/// How often the reading thread takes its turn: at once for a client that comes alone, and where many come one behind the
/// other, for those of an ``interval`` together. What it costs to be woken, to write to the disk and to send is then
/// spent on many packets.
struct Turns {
  /// Nanoseconds.
  static let interval: Int64 = 500_000
  /// Turns that may follow each other at once.
  static let burst: Int64 = 8

  /// When as many turns as were taken would have been due, one in each interval.
  private var due = Int64.min

  /// Asked at the end of each turn.
  /// - Returns: Nanoseconds until the next.
  mutating func pause(from beginning: Int64, to end: Int64) -> Int64? {
    due = max(due, beginning) + Self.interval
    let pause = due - Self.burst * Self.interval - end
    return pause > 0 ? pause : nil
  }
}

extension CaptureHandle {
  /// Waits for frames for at most `milliseconds`, then hands over those that are there.
  /// - Returns: `false` where the interface is gone.
  func read(waiting milliseconds: Int32, _ body: (Span<UInt8>) -> Void) -> Bool {
    var waited = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    guard poll(&waited, 1, milliseconds) > 0 else { return true }
    return read(limit: .max, body)
  }
}
