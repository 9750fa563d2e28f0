package import NetworkTypes

/// What the delivery of files may take of the network.
package struct DeliveryRates: Hashable, Sendable {
  /// Bytes in a second, for all clients together; `nil` where there is no limit.
  package var total: Int?
  /// For each client.
  package var perClient: Int?

  package init(total: Int? = nil, perClient: Int? = nil) {
    self.total = total
    self.perClient = perClient
  }

  package var isLimited: Bool { total != nil || perClient != nil }
}

/// Who may send next, and when: shares a rate fairly among clients, however many connections each has, and bounds
/// what any one of them gets.
///
/// Pure: times come from the caller, in nanoseconds of a clock that only goes forwards. Each piece that a connection
/// wants to send is asked for with `ask`, and granted at once or by a later `advance`.
///
/// The rate for all is shared by start-time fair queueing (Goyal, Vin and Cheng, 1996): each piece is tagged with the
/// virtual time at which its client's earlier pieces are paid for, and the lowest tag goes first. The rates themselves
/// are token buckets, kept as the time at which they are full again.
package struct DeliveryShaper<Ticket: Hashable & Sendable>: Sendable {
  private struct Piece: Sendable {
    var ticket: Ticket
    var client: IPv4Address
    var bytes: Int
  }

  private struct Client: Sendable {
    /// When its bucket is full again.
    var full: Int64 = 0
    /// Virtual time at which all its pieces so far are paid for.
    var paid: Int64 = 0
    var waiting = 0
  }

  /// Nanoseconds of sending at full rate that may be made up for: enough that timers that are late cost nothing.
  private static var burst: Int64 { 50_000_000 }

  private let rates: DeliveryRates
  private var clients: [IPv4Address: Client] = [:]
  /// Pieces whose clients have had enough for now, by when they may go on.
  private var delayed = Heap<Piece>()
  /// Pieces that wait for the rate of all, by tag.
  private var queued = Heap<Piece>()
  /// When the bucket of all is full again.
  private var full: Int64 = 0
  /// Virtual time: the tag of the last piece granted, in bytes.
  private var virtual: Int64 = 0

  package init(_ rates: DeliveryRates) {
    self.rates = rates
  }

  /// Pieces that wait.
  package var waitingCount: Int { delayed.count + queued.count }

  /// A connection wants to send a piece.
  ///
  /// - Returns: Whether it may at once. Else `advance` says so later.
  package mutating func ask(_ ticket: Ticket, _ client: IPv4Address, bytes: Int, now: Int64) -> Bool {
    let piece = Piece(ticket: ticket, client: client, bytes: bytes)
    var state = clients[client] ?? Client(full: now, paid: virtual)
    state.waiting += 1
    if let rate = rates.perClient {
      let start = max(state.full, now)
      state.full = start + Self.duration(bytes, rate)
      clients[client] = state
      if start - now > Self.burst {
        delayed.insert(piece, at: start - Self.burst)
        return false
      }
    } else {
      clients[client] = state
    }
    enqueue(piece)
    return advance(now: now, only: ticket)
  }

  /// Time went by.
  ///
  /// - Returns: Who may send now, in order.
  package mutating func advance(now: Int64) -> [Ticket] {
    var granted: [Ticket] = []
    while let piece = delayed.removeFirst(until: now) { enqueue(piece) }
    while let ticket = grant(now: now) { granted.append(ticket) }
    return granted
  }

  /// When `advance` is to be called next; `nil` where nobody waits.
  package var nextTime: Int64? {
    let queue: Int64? = queued.isEmpty ? nil : rates.total == nil ? .min : full - Self.burst
    guard let delay = delayed.firstKey else { return queue }
    return queue.map { min($0, delay) } ?? delay
  }

  /// A connection is gone: what it asked for is not sent.
  package mutating func withdraw(_ ticket: Ticket) {
    for piece in delayed.remove(where: { $0.ticket == ticket }) + queued.remove(where: { $0.ticket == ticket }) {
      finished(piece)
    }
  }

  /// Where nothing else waits, the piece just asked for is the only one that can be granted.
  private mutating func advance(now: Int64, only ticket: Ticket) -> Bool {
    guard queued.count == 1 else { return false }
    return grant(now: now) == ticket
  }

  private mutating func grant(now: Int64) -> Ticket? {
    if let rate = rates.total {
      guard !queued.isEmpty, full - now <= Self.burst, let (tag, piece) = queued.removeFirst() else { return nil }
      full = max(full, now) + Self.duration(piece.bytes, rate)
      virtual = max(virtual, tag)
      finished(piece)
      return piece.ticket
    }
    guard let (tag, piece) = queued.removeFirst() else { return nil }
    virtual = max(virtual, tag)
    finished(piece)
    return piece.ticket
  }

  private mutating func enqueue(_ piece: Piece) {
    let tag = max(virtual, clients[piece.client]?.paid ?? virtual)
    clients[piece.client]?.paid = tag + Int64(piece.bytes)
    queued.insert(piece, at: tag)
  }

  /// Forgets clients that want nothing, so that the table does not grow for ever.
  private mutating func finished(_ piece: Piece) {
    clients[piece.client]?.waiting -= 1
    if clients.count > 4096 {
      clients = clients.filter { $0.value.waiting > 0 || $0.value.full > full || $0.value.paid > virtual }
    }
  }

  /// Nanoseconds that so many bytes take at a rate.
  private static func duration(_ bytes: Int, _ rate: Int) -> Int64 {
    let (whole, rest) = bytes.quotientAndRemainder(dividingBy: max(1, rate))
    return Int64(whole) * 1_000_000_000 + Int64(Double(rest) / Double(max(1, rate)) * 1e9)
  }
}

/// A binary heap: the lowest key first, and of equal ones the one that came first.
private struct Heap<Element: Sendable>: Sendable {
  private struct Item: Sendable {
    var key: Int64
    var number: UInt64
    var element: Element

    static func < (left: Item, right: Item) -> Bool { (left.key, left.number) < (right.key, right.number) }
  }

  private var items: [Item] = []
  private var inserted: UInt64 = 0

  var count: Int { items.count }
  var isEmpty: Bool { items.isEmpty }
  var firstKey: Int64? { items.first?.key }

  mutating func insert(_ element: Element, at key: Int64) {
    items.append(Item(key: key, number: inserted, element: element))
    inserted += 1
    var child = items.count - 1
    while child > 0, items[child] < items[(child - 1) / 2] {
      items.swapAt(child, (child - 1) / 2)
      child = (child - 1) / 2
    }
  }

  mutating func removeFirst() -> (key: Int64, element: Element)? {
    guard let first = items.first else { return nil }
    let last = items.removeLast()
    if !items.isEmpty {
      items[0] = last
      sink(0)
    }
    return (first.key, first.element)
  }

  /// The first one whose key is not above `key`.
  mutating func removeFirst(until key: Int64) -> Element? {
    guard let first = firstKey, first <= key else { return nil }
    return removeFirst()?.element
  }

  mutating func remove(where isWanted: (Element) -> Bool) -> [Element] {
    let gone = items.filter { isWanted($0.element) }
    guard !gone.isEmpty else { return [] }
    items.removeAll { isWanted($0.element) }
    for index in stride(from: items.count / 2 - 1, through: 0, by: -1) { sink(index) }
    return gone.map(\.element)
  }

  private mutating func sink(_ start: Int) {
    var parent = start
    while true {
      var least = parent
      for child in [2 * parent + 1, 2 * parent + 2] where child < items.count && items[child] < items[least] {
        least = child
      }
      if least == parent { return }
      items.swapAt(parent, least)
      parent = least
    }
  }
}
