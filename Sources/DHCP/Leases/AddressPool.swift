import NetworkTypes

/// The addresses of one network: who has them, who was offered them, and which is given out next.
///
/// Giving out an address costs a step of the cursor while there are addresses that nobody had, and
/// a heap operation afterwards; nothing ever walks over all leases.
struct AddressPool {
  struct Offer {
    var address: IPv4Address
    var expires: Int64
  }

  private struct Record {
    var lease: Lease
    /// The time of this address's one valid entry in `remembered`; never later than it may be free.
    var queuedAt: Int64
  }

  /// Seconds after which an address set aside for somebody is looked at again.
  private static let recheckSeconds: Int64 = 600

  let network: LeaseNetwork
  private var records: [IPv4Address: Record] = [:]
  private var addresses: [LeaseHolder: IPv4Address] = [:]
  /// At most one for each address (`offered` says whose), so random clients cannot make it grow
  /// beyond the pool. Those out of time are as good as absent.
  private var offers: [LeaseHolder: Offer] = [:]
  private var offered: [IPv4Address: LeaseHolder] = [:]
  /// Range and offset of the next address that was never looked at.
  private var cursor = (range: 0, offset: 0)
  /// Addresses behind the cursor that nobody had, each once.
  private var unused = ExpiryQueue()
  /// Addresses on record, each with one valid entry.
  private var remembered = ExpiryQueue()

  init(_ network: LeaseNetwork) {
    self.network = network
  }

  func lease(at address: IPv4Address) -> Lease? { records[address]?.lease }

  /// The address this client has, or had last.
  func address(of holder: LeaseHolder) -> IPv4Address? { addresses[holder] }

  func offer(to holder: LeaseHolder, at now: Int64) -> IPv4Address? {
    guard let offer = offers[holder], offer.expires > now else { return nil }
    return offer.address
  }

  /// Whether the address may be given to this client now.
  func isFree(
    _ address: IPv4Address, for holder: LeaseHolder, at now: Int64, owner: (IPv4Address) -> MACAddress?
  ) -> Bool {
    guard network.mayHost(address) else { return false }
    if let lease = records[address]?.lease, lease.state != .released, lease.expires > now {
      guard lease.state == .bound, lease.holder == holder else { return false }
    }
    if let other = offered[address], other != holder, let offer = offers[other], offer.expires > now {
      return false
    }
    return !isReserved(address, forOtherThan: holder, owner: owner)
  }

  func isReserved(
    _ address: IPv4Address, forOtherThan holder: LeaseHolder, owner: (IPv4Address) -> MACAddress?
  ) -> Bool {
    guard let card = owner(address) else { return false }
    return holder != .hardware(card)
  }

  mutating func setOffer(_ address: IPv4Address, to holder: LeaseHolder, until expires: Int64) {
    if let previous = offers[holder], previous.address != address { offered[previous.address] = nil }
    if let other = offered[address], other != holder { offers[other] = nil }
    offers[holder] = Offer(address: address, expires: expires)
    offered[address] = holder
  }

  mutating func dropOffer(to holder: LeaseHolder) {
    guard let offer = offers.removeValue(forKey: holder) else { return }
    offered[offer.address] = nil
  }

  /// Puts a lease on record in place of what was there, and makes it its holder's, where it is one
  /// to come back to.
  mutating func record(_ lease: Lease) {
    let previous = records[lease.address]
    if let previous, previous.lease.holder != lease.holder || lease.state == .declined,
      addresses[previous.lease.holder] == lease.address
    {
      addresses[previous.lease.holder] = nil
    }
    var queuedAt = previous?.queuedAt ?? .max
    // An entry that comes too early is put back when it comes up; one too late would keep the address.
    if queuedAt > lease.expires, network.isPooled(lease.address) {
      queuedAt = lease.expires
      remembered.insert(lease.address, at: queuedAt)
    }
    records[lease.address] = Record(lease: lease, queuedAt: queuedAt)
    if lease.state != .declined { addresses[lease.holder] = lease.address }
  }

  /// As ``record(_:)``, for leases read at the start, in any order: of several that a client had,
  /// the one that lasts longest counts.
  mutating func restore(_ lease: Lease) {
    let known = addresses[lease.holder].flatMap { records[$0]?.lease }
    record(lease)
    guard let known, known.address != lease.address else { return }
    let isBetter = (known.state == .bound ? 1 : 0, known.expires) > (lease.state == .bound ? 1 : 0, lease.expires)
    if isBetter { addresses[lease.holder] = known.address }
  }

  /// The next address for a client that has none: one that nobody had, else the one free the longest.
  mutating func next(
    for holder: LeaseHolder, at now: Int64, offerSeconds: Int64, owner: (IPv4Address) -> MACAddress?
  ) -> (address: IPv4Address, reason: LeaseReason)? {
    while let address = advance() {
      guard records[address] == nil, network.mayHost(address) else { continue }
      if isFree(address, for: holder, at: now, owner: owner) {
        unused.insert(address, at: now + offerSeconds)
        return (address, .neverUsed)
      }
      unused.insert(address, at: retryTime(of: address, at: now))
    }
    while let entry = unused.popFirst(at: now) {
      guard records[entry.address] == nil else { continue }
      if isFree(entry.address, for: holder, at: now, owner: owner) {
        unused.insert(entry.address, at: now + offerSeconds)
        return (entry.address, .neverUsed)
      }
      unused.insert(entry.address, at: retryTime(of: entry.address, at: now))
    }
    while let entry = remembered.popFirst(at: now) {
      guard let record = records[entry.address], record.queuedAt == entry.time else { continue }
      let isFree = isFree(entry.address, for: holder, at: now, owner: owner)
      let later =
        if isFree {
          now + offerSeconds
        } else if record.lease.expires > now {
          record.lease.expires
        } else {
          retryTime(of: entry.address, at: now)
        }
      records[entry.address]?.queuedAt = later
      remembered.insert(entry.address, at: later)
      if isFree { return (entry.address, .longestUnused) }
    }
    return nil
  }

  /// When to look again at an address that is not free: the end of its offer, else after a while
  /// (it is set aside for somebody). Always later than `now`, so that every walk ends.
  private func retryTime(of address: IPv4Address, at now: Int64) -> Int64 {
    if let other = offered[address], let offer = offers[other], offer.expires > now { return offer.expires }
    return now + Self.recheckSeconds
  }

  private mutating func advance() -> IPv4Address? {
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
