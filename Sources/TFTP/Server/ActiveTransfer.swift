import CLinux
import NetworkTypes

/// A transfer, its socket, its content, and what is told of it.
final class ActiveTransfer {
  let peer: Peer
  let request: Request
  let name: RequestedName
  let content: OpenContent
  let startedAt: Nanoseconds
  /// When the client was last heard.
  var heardAt: Nanoseconds
  /// When its progress was last told.
  var toldAt: Nanoseconds
  var transfer: Transfer
  var route: BlockSender.Route
  /// The earliest time in the queue at which this transfer will be looked at.
  var scheduledAt = Nanoseconds.max
  /// `nil` where all run from the port of requests.
  let port: TransferPort?
  /// Its own socket at that port, which `route` leads over, where it has one: see `TransferPort.line(to:)`.
  let isOnLine: Bool
  private let line: UDPSocket?

  init(
    peer: Peer, request: Request, name: RequestedName, content: OpenContent, transfer: Transfer,
    port: TransferPort?, line: consuming UDPSocket?, route: BlockSender.Route, at now: Nanoseconds
  ) {
    self.peer = peer
    self.request = request
    self.name = name
    self.content = content
    self.transfer = transfer
    self.port = port
    isOnLine = line != nil
    self.route = route
    self.line = line
    startedAt = now
    heardAt = now
    toldAt = now
  }

  func event(_ kind: TransferEvent.Kind, at now: Nanoseconds) -> TransferEvent {
    TransferEvent(
      kind: kind, name: name.original, client: peer.address, bytes: transfer.acknowledgedBytes,
      size: transfer.parameters.size, seconds: Double(now - startedAt) / 1e9, retransmissions: transfer.retransmissions,
      blockSize: transfer.parameters.negotiation.blockSize, windowSize: transfer.parameters.negotiation.windowSize)
  }
}

/// Transfers by a token that is never used again, and never below 2^32.
struct TransferTable {
  private var slots: [(generation: UInt32, transfer: ActiveTransfer?)] = []
  private var free: [Int] = []
  /// Tokens in the order in which transfers began, ended ones among them.
  private var order: [UInt64] = []
  private(set) var count = 0

  subscript(token: UInt64) -> ActiveTransfer? {
    let index = Int(token & 0xFFFF_FFFF)
    guard index < slots.count, slots[index].generation == UInt32(token >> 32) else { return nil }
    return slots[index].transfer
  }

  /// - Returns: Its token.
  mutating func add(_ transfer: ActiveTransfer) -> UInt64 {
    let index = free.popLast() ?? slots.count
    if index == slots.count { slots.append((generation: 1, transfer: nil)) }
    slots[index].transfer = transfer
    count += 1
    let token = UInt64(slots[index].generation) << 32 | UInt64(index)
    // Ended ones are swept out now and then, so that each costs the same.
    if order.count > 2 * count + 64 { order = order.filter { self[$0] != nil } }
    order.append(token)
    return token
  }

  mutating func remove(_ token: UInt64) {
    guard self[token] != nil else { return }
    let index = Int(token & 0xFFFF_FFFF)
    slots[index].transfer = nil
    slots[index].generation &+= 1
    if slots[index].generation == 0 { slots[index].generation = 1 }
    free.append(index)
    count -= 1
  }

  /// Every transfer, the oldest first.
  var tokens: [UInt64] { order.filter { self[$0] != nil } }

  /// The transfer that has waited longest for a first sign of its client.
  func oldestUnconfirmed() -> UInt64? {
    order.first { token in self[token].map { !$0.transfer.isConfirmed } ?? false }
  }
}
