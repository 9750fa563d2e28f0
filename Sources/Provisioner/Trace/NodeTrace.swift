import DHCP
import NIOPosix
import NetworkTypes
import Synchronization

/// The packets of one node's boot, as the blocks of a pcapng file: first the DHCP messages that were kept
/// since, then what passes, until the node is ready or a bound is reached.
package struct NodeTrace: Sendable {
  package struct Limits: Hashable, Sendable {
    /// `false`: only what was kept.
    package var isLive: Bool
    package var seconds: Int
    package var bytes: Int

    package init(isLive: Bool = true, seconds: Int = 600, bytes: Int = 64 << 20) {
      self.isLive = isLive
      self.seconds = seconds
      self.bytes = bytes
    }
  }

  let name: String
  let kept: [PacketLog.Packet]
  let start: UInt64
  let limits: Limits
  let captures: [PacketCapture]
  let events: AsyncStream<TimelineEvent>
  /// The filter for the node as it is known now.
  let filter: @Sendable () -> String

  private enum Item: Sendable {
    case packet(UInt32, PacketCapture.Packet)
    case tick
  }

  /// Seconds between signs of life while nothing passes.
  private static let tickSeconds = 10

  /// Writes the file, block by block.
  /// - Throws: What `write` throws.
  package func run(_ write: @escaping ([UInt8]) async throws -> Void) async throws {
    var header = PCAPNG.sectionHeader(application: "Perseid \(Appliance.version)")
    header += PCAPNG.interface(
      .ipv4, name: "kept", description: "DHCP messages kept by the appliance; their IP and UDP headers are made again")
    for capture in captures {
      header += PCAPNG.interface(
        .ethernet, name: capture.interface,
        description: "contents are cut short after \(TraceFilter.contentLimit) bytes",
        longest: UInt32(PacketCapture.longest))
    }
    try await write(header)
    for packet in kept where packet.at < start {
      try await write(PCAPNG.packet(interface: 0, at: packet.at, packet.bytes))
    }
    let end = limits.isLive ? try await follow(write) : "these are the messages kept until now"
    try await write(PCAPNG.statistics(interface: 0, at: PacketLog.now, dropped: 0, comment: end))
  }

  /// - Returns: Why it ended.
  private func follow(_ write: @escaping ([UInt8]) async throws -> Void) async throws -> String {
    let (items, continuation) = AsyncStream.makeStream(of: Item.self, bufferingPolicy: .bufferingOldest(16384))
    let ending = Ending { continuation.finish() }
    let threads = NIOThreadPool(numberOfThreads: max(1, captures.count))
    threads.start()
    let result: Result<String, any Error>
    do {
      result = .success(
        try await withThrowingTaskGroup(of: Void.self) { tasks in
          defer {
            ending.end("")
            tasks.cancelAll()
          }
          for (index, capture) in captures.enumerated() {
            tasks.addTask {
              try await threads.runIfActive { Self.read(capture, UInt32(index + 1), ending, continuation) }
            }
          }
          tasks.addTask { await watch(ending) }
          tasks.addTask {
            for _ in 0..<max(1, limits.seconds / Self.tickSeconds) {
              try await Task.sleep(for: .seconds(min(Self.tickSeconds, limits.seconds)))
              continuation.yield(.tick)
            }
            ending.end("the time is over: \(limits.seconds) seconds")
          }
          return try await consume(items, ending, write)
        })
    } catch {
      result = .failure(error)
    }
    try await threads.shutdownGracefully()
    return try result.get()
  }

  private func consume(
    _ items: AsyncStream<Item>, _ ending: Ending, _ write: ([UInt8]) async throws -> Void
  ) async throws -> String {
    var bytes = 0
    for await item in items {
      switch item {
      case .packet(let interface, let packet):
        let kept = Array(packet.bytes.prefix(TraceFilter.kept(of: packet.bytes)))
        let block = PCAPNG.packet(interface: interface, at: packet.at, kept, length: packet.length)
        bytes += block.count
        guard bytes <= limits.bytes else { return "the file is full: \(ByteCount.words(Int64(limits.bytes)))" }
        try await write(block)
      case .tick:
        for (index, capture) in captures.enumerated() {
          try await write(
            PCAPNG.statistics(interface: UInt32(index + 1), at: PacketLog.now, dropped: capture.dropped))
        }
      }
    }
    try Task.checkCancellation()
    return ending.reason ?? "the appliance stopped"
  }

  /// The capture's thread.
  private static func read(
    _ capture: PacketCapture, _ interface: UInt32, _ ending: Ending, _ continuation: AsyncStream<Item>.Continuation
  ) {
    while ending.reason == nil {
      let isThere = capture.read(waiting: 100) { packet in
        _ = continuation.yield(.packet(interface, packet))
      }
      guard isThere else {
        return ending.end("the interface \(capture.interface) went down or away")
      }
    }
  }

  /// Follows the node: to its end, and to addresses that it is given.
  private func watch(_ ending: Ending) async {
    var current = filter()
    for await event in events {
      if event.source == .state, event.event == "ready" {
        // What it is told in answer still passes, and captured packets come a tenth of a second late.
        try? await Task.sleep(for: .milliseconds(500))
        return ending.end("\(name) is ready")
      }
      let new = filter()
      guard new != current else { continue }
      current = new
      for capture in captures { try? capture.set(filter: new) }
    }
    if !Task.isCancelled { ending.end("the appliance stopped") }
  }
}

/// Why a trace ends: what is said first counts, and ends the reading threads.
private final class Ending: Sendable {
  private let first = Mutex<String?>(nil)
  private let whenEnded: @Sendable () -> Void

  init(whenEnded: @escaping @Sendable () -> Void) {
    self.whenEnded = whenEnded
  }

  var reason: String? { first.withLock { $0 } }

  func end(_ reason: String) {
    first.withLock { if $0 == nil { $0 = reason } }
    whenEnded()
  }
}

extension Appliance {
  /// Prepares a trace: from its return on no packet of the node is missed.
  /// - Throws: `ApplianceError` where there is no such node, or its packets cannot be captured.
  package func trace(_ name: String, _ limits: NodeTrace.Limits) throws -> NodeTrace {
    guard registry.effective(name) != nil else {
      throw ApplianceError(.notFound, "There is no node '\(name)'. perseid node list shows those there are.")
    }
    guard (1...86400).contains(limits.seconds), (1 << 16...4 << 30).contains(limits.bytes) else {
      throw ApplianceError(.invalid, "A trace takes 1 to 86400 seconds, and 1 to 4096 MiB.")
    }
    let port = configuration.provisioner.port
    let filter: @Sendable () -> String = { [registry, board] in
      let seen = board.status(of: name)?.address
      let (macs, addresses) = registry.read { view in
        let node = view.node(named: name)
        let macs = node?.macs ?? []
        let known = macs.map { view.leasedAddress(of: $0) } + [node?.address, view.lastBoot(of: name)?.address, seen]
        return (macs, Set(known.compactMap(\.self)).sorted())
      }
      return TraceFilter.text(macs: macs, addresses: addresses, port: port)
    }
    var captures: [PacketCapture] = []
    if limits.isLive {
      let text = filter()
      for interface in configuration.network.interfaces {
        do {
          captures.append(try PacketCapture(interface: interface, filter: text))
        } catch {
          throw ApplianceError(
            .failed,
            "The packets of \(interface) cannot be captured: \(error) "
              + "What was kept of the node's last boots can be had without: perseid node trace \(name) --kept.")
        }
      }
    }
    // The captures run by now: what was kept from here on is in them too.
    let start = PacketLog.now
    let macs = registry.read { $0.node(named: name)?.macs ?? [] }
    return NodeTrace(
      name: name, kept: packets.packets(of: macs), start: start, limits: limits, captures: captures,
      events: watch(node: name), filter: filter)
  }
}
