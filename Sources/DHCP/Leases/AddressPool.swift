import NetworkTypes

/// The addresses of one network: who has them, who was offered them, and which is given out next.
///
/// Giving out an address costs a step of the cursor while there are addresses that nobody had, and
/// a heap operation afterwards; nothing ever walks over all leases. An address is in one place at a
/// time: ahead of the cursor, in a queue, or in the reserve of those that are probed.
///
/// A class, since it is asked many times for each packet: as a value, every question would copy its dozen tables' references.
final class AddressPool {
  struct Offer {
    var address: IPv4Address
    var expires: Int64
  }

  private struct Client {
    /// The address it has, or had last.
    var address: IPv4Address?
    /// One out of time is as good as none.
    var offer: Offer?
  }

  private struct Record {
    var lease: Lease
    /// The time of this address's one valid entry in `remembered`; never later than it may be free.
    var queuedAt: Int64
  }

  /// Seconds after which an address set aside for somebody is looked at again.
  private static let recheckSeconds: Int64 = 600
  /// How many clients there is room for from the beginning.
  private static let reserved = 1 << 16

  let network: LeaseNetwork
  private var records: AddressTable<Record>
  /// Each with one of both at least. Of addresses and of offers there is at most one for each address of the network, so
  /// random clients cannot make it grow beyond that.
  private var clients: [LeaseHolder: Client] = [:]
  /// Whose offer of an address is in `clients`.
  private var offered: AddressTable<LeaseHolder>
  /// Range and offset of the next address that was never looked at.
  private var cursor = (range: 0, offset: 0)
  /// Addresses behind the cursor that nobody had, each once.
  private var unused = ExpiryQueue()
  /// Addresses on record, each with one valid entry, but for those in `reserve` and `kept`.
  private var remembered = ExpiryQueue()
  /// Addresses on record that were found to be a registered machine's: nobody else gets them while
  /// there are others.
  private var kept = ExpiryQueue()
  /// Addresses that the queues have handed over to be probed.
  private var reserve: ProbeReserve
  /// How many addresses of the ranges there are, and how many of them are on record.
  private let size: Int
  private var recordCount = 0

  /// - Parameter reserveSize: How many addresses are to be probed ahead; 0 for none.
  init(_ network: LeaseNetwork, reserveSize: Int = 0) {
    self.network = network
    size = network.ranges.reduce(0) { $0 + $1.count }
    records = AddressTable(network.ranges)
    offered = AddressTable(network.ranges)
    // What is not used costs no memory that is really there, and nobody waits while a table grows.
    clients.reserveCapacity(min(size, Self.reserved))
    reserve = ProbeReserve(size: min(reserveSize, size))
  }

  func lease(at address: IPv4Address) -> Lease? { records[address]?.lease }

  /// The address this client has, or had last.
  func address(of holder: LeaseHolder) -> IPv4Address? { clients[holder]?.address }

  func offer(to holder: LeaseHolder, at now: Int64) -> IPv4Address? {
    guard let offer = clients[holder]?.offer, offer.expires > now else { return nil }
    return offer.address
  }

  /// Whether the address was offered to this client, be it long ago.
  func hasOffer(of address: IPv4Address, to holder: LeaseHolder) -> Bool {
    clients[holder]?.offer?.address == address
  }

  /// Whether the address may be given to this client now.
  func isFree(
    _ address: IPv4Address, for holder: LeaseHolder, at now: Int64, _ book: AddressBook
  ) -> Bool {
    guard network.mayHost(address) else { return false }
    if let lease = records[address]?.lease, !lease.isOver(at: now) {
      guard lease.state == .bound, lease.holder == holder else { return false }
    }
    if let other = offered[address], other != holder, offer(to: other, at: now) != nil { return false }
    return !isReserved(address, forOtherThan: holder, book)
  }

  func isReserved(_ address: IPv4Address, forOtherThan holder: LeaseHolder, _ book: AddressBook) -> Bool {
    guard let card = book.owner(address) else { return false }
    return holder != .hardware(card)
  }

  /// Whether a registered machine had this address last, another one than `holder`: it is to find it again.
  func isKept(_ address: IPv4Address, from holder: LeaseHolder, _ book: AddressBook) -> Bool {
    guard let lease = records[address]?.lease, lease.state != .declined, lease.holder != holder else { return false }
    return self.address(of: lease.holder) == address && book.isKnown(lease.holder)
  }

  /// Whether a client that nobody registered may have this address, which may be one that nobody had: the
  /// registered machines that have none yet find one each, in half of the pool at most.
  func isLeft(_ address: IPv4Address, _ book: AddressBook) -> Bool {
    records[address] != nil || !network.isPooled(address) || size - recordCount > min(book.waiting(), size / 2)
  }

  func setOffer(_ address: IPv4Address, to holder: LeaseHolder, until expires: Int64) {
    if let other = offered[address], other != holder { setOffer(nil, of: other) }
    let previous = setOffer(Offer(address: address, expires: expires), of: holder)
    if let previous, previous.address != address { offered[previous.address] = nil }
    offered[address] = holder
  }

  func dropOffer(to holder: LeaseHolder) {
    guard let offer = setOffer(nil, of: holder) else { return }
    offered[offer.address] = nil
  }

  /// - Returns: The offer that the client had.
  @discardableResult
  private func setOffer(_ offer: Offer?, of holder: LeaseHolder) -> Offer? {
    guard let place = clients.index(forKey: holder) else {
      if let offer { clients[holder] = Client(offer: offer) }
      return nil
    }
    let previous = clients.values[place].offer
    clients.values[place].offer = offer
    if offer == nil, clients.values[place].address == nil { clients.remove(at: place) }
    return previous
  }

  private func setAddress(_ address: IPv4Address?, of holder: LeaseHolder) {
    if let address {
      clients[holder, default: Client()].address = address
    } else if let place = clients.index(forKey: holder) {
      clients.values[place].address = nil
      if clients.values[place].offer == nil { clients.remove(at: place) }
    }
  }

  /// Puts a lease on record in place of what was there, and makes it its holder's, where it is one
  /// to come back to.
  func record(_ lease: Lease) {
    let previous = records[lease.address]
    if let previous, previous.lease.holder != lease.holder || lease.state == .declined,
      address(of: previous.lease.holder) == lease.address
    {
      setAddress(nil, of: previous.lease.holder)
    }
    var queuedAt = previous?.queuedAt ?? .max
    if previous == nil, network.isPooled(lease.address) { recordCount += 1 }
    // An entry that comes too early is put back when it comes up; one too late would keep the address.
    if queuedAt > lease.expires, network.isPooled(lease.address) {
      queuedAt = lease.expires
      remembered.insert(lease.address, at: queuedAt)
    }
    records[lease.address] = Record(lease: lease, queuedAt: queuedAt)
    if lease.state != .declined { setAddress(lease.address, of: lease.holder) }
  }

  /// As ``record(_:)``, for leases read at the start, in any order: of several that a client had,
  /// the one that lasts longest counts.
  func restore(_ lease: Lease) {
    let known = address(of: lease.holder).flatMap { records[$0]?.lease }
    record(lease)
    guard let known, known.address != lease.address else { return }
    let isBetter = (known.state == .bound ? 1 : 0, known.expires) > (lease.state == .bound ? 1 : 0, lease.expires)
    if isBetter { setAddress(known.address, of: lease.holder) }
  }

  // MARK: Addresses for new clients

  /// The next address for a client that has none: a probed one, else one that nobody had, else the one
  /// free the longest.
  /// - Parameter isKnown: Whether the client is a registered machine.
  func next(
    for holder: LeaseHolder, isKnown: Bool, at now: Int64, offerSeconds: Int64, _ book: AddressBook
  ) -> (address: IPv4Address, reason: LeaseReason, isProbed: Bool)? {
    let allowsNew = isKnown || size - recordCount > min(book.waiting(), size / 2)
    var found: IPv4Address?
    var isProbed = false
    while let entry = reserve.take(where: { allowsNew || records[$0] != nil }) {
      if isFree(entry.address, for: holder, at: now, book), !isKept(entry.address, from: holder, book) {
        found = entry.address
        isProbed = entry.time.map { now - $0 < ProbeReserve.staleSeconds } ?? false
        break
      }
      queue(entry.address, at: retryTime(of: entry.address, at: now))
    }
    if found == nil { found = takeFree(for: holder, allowsNew: allowsNew, at: now, book) }
    if let found { queue(found, at: now + offerSeconds) }
    if found == nil { found = takeKept(for: holder, isKnown: isKnown, at: now, offerSeconds: offerSeconds, book) }
    return found.map { ($0, records[$0] == nil ? .neverUsed : .longestUnused, isProbed) }
  }

  /// Takes the next free address out of the queues.
  private func takeFree(
    for holder: LeaseHolder, allowsNew: Bool, at now: Int64, _ book: AddressBook
  ) -> IPv4Address? {
    while allowsNew, let address = advance() {
      guard records[address] == nil, network.mayHost(address) else { continue }
      if isFree(address, for: holder, at: now, book) { return address }
      unused.insert(address, at: retryTime(of: address, at: now))
    }
    while allowsNew, let entry = unused.popFirst(at: now) {
      guard records[entry.address] == nil else { continue }
      if isFree(entry.address, for: holder, at: now, book) { return entry.address }
      unused.insert(entry.address, at: retryTime(of: entry.address, at: now))
    }
    while let entry = remembered.popFirst(at: now) {
      guard let record = records[entry.address], record.queuedAt == entry.time else { continue }
      records[entry.address]?.queuedAt = .max
      if !isFree(entry.address, for: holder, at: now, book) {
        let isOver = record.lease.expires <= now
        queue(entry.address, at: isOver ? retryTime(of: entry.address, at: now) : record.lease.expires)
      } else if isKept(entry.address, from: holder, book) {
        records[entry.address]?.queuedAt = entry.time
        kept.insert(entry.address, at: entry.time)
      } else {
        return entry.address
      }
    }
    return nil
  }

  /// When there is no other: an address that a registered machine had, for another one; or for anybody,
  /// where that machine is registered no more.
  private func takeKept(
    for holder: LeaseHolder, isKnown: Bool, at now: Int64, offerSeconds: Int64, _ book: AddressBook
  ) -> IPv4Address? {
    while let entry = kept.popFirst(at: now) {
      guard let record = records[entry.address], record.queuedAt == entry.time else { continue }
      let isOver = record.lease.expires <= now
      let isFree = isFree(entry.address, for: holder, at: now, book)
      let isTheirs = isKept(entry.address, from: holder, book)
      if isFree, isKnown || !isTheirs {
        queue(entry.address, at: now + offerSeconds)
        return entry.address
      }
      queue(entry.address, at: isOver ? retryTime(of: entry.address, at: now) : record.lease.expires)
      // One look for each client is enough: the next one looks at the next.
      if isFree { return nil }
    }
    return nil
  }

  /// Puts an address back into the queue it belongs to.
  private func queue(_ address: IPv4Address, at time: Int64) {
    guard records[address] != nil else { return unused.insert(address, at: time) }
    records[address]?.queuedAt = time
    remembered.insert(address, at: time)
  }

  /// The offer to a client that nobody registered, never taken up, that is the oldest: given up for a
  /// registered machine where no address is free.
  func reclaim(for holder: LeaseHolder, at now: Int64, _ book: AddressBook) -> IPv4Address? {
    var oldest: (holder: LeaseHolder, offer: Offer)?
    for (other, client) in clients where other != holder {
      guard let offer = client.offer, offer.expires < oldest?.offer.expires ?? .max, !book.isKnown(other),
        network.isPooled(offer.address), records[offer.address].map({ $0.lease.isOver(at: now) }) ?? true,
        !isReserved(offer.address, forOtherThan: holder, book)
      else { continue }
      oldest = (other, offer)
    }
    guard let oldest else { return nil }
    dropOffer(to: oldest.holder)
    return oldest.offer.address
  }

  // MARK: Probes

  var readyCount: Int { reserve.entries.count }

  /// Addresses to probe now, so that the reserve becomes and stays full.
  func toProbe(atMost count: Int, at now: Int64, _ book: AddressBook) -> [IPv4Address] {
    var found: [IPv4Address] = []
    while found.count < count, reserve.missing > 0,
      let address = takeFree(for: .nobody, allowsNew: true, at: now, book)
    {
      reserve.begin(address)
      found.append(address)
    }
    while found.count < count, let address = reserve.nextToRefresh(at: now) { found.append(address) }
    return found
  }

  /// Nobody answered for an address that was probed.
  func silent(_ address: IPv4Address, at now: Int64) {
    reserve.silent(address, at: now)
  }

  /// Whether the address is probed, or being probed, and so nobody's.
  func isInReserve(_ address: IPv4Address) -> Bool { reserve.contains(address) }

  /// Takes an address out of the reserve; it is looked at again at `time`.
  func withdraw(_ address: IPv4Address, until time: Int64) {
    // One that was given out meanwhile is in its queue already; what is on record is looked at when that says.
    if reserve.remove(address) || records[address] != nil { queue(address, at: time) }
  }

  /// To whom the address is offered.
  func offeree(of address: IPv4Address, at now: Int64) -> LeaseHolder? {
    guard let holder = offered[address], offer(to: holder, at: now) != nil else { return nil }
    return holder
  }

  /// When to look again at an address that is not free: the end of its offer, else after a while
  /// (it is set aside for somebody). Always later than `now`, so that every walk ends.
  private func retryTime(of address: IPv4Address, at now: Int64) -> Int64 {
    if let other = offered[address], let offer = clients[other]?.offer, offer.expires > now { return offer.expires }
    return now + Self.recheckSeconds
  }

  private func advance() -> IPv4Address? {
    while cursor.range < network.ranges.count {
      let range = network.ranges[cursor.range]
      if cursor.offset < range.count {
        defer { cursor.offset += 1 }
        return range[cursor.offset]
      }
      cursor = (cursor.range + 1, 0)
    }
    return nil
  }
}
