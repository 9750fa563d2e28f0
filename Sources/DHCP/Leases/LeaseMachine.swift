package import NetworkTypes

/// Who gets which address: RFC 2131, section 4.3, without clock, disk or network.
///
/// A decision takes effect here at once, so that the next client sees it; what has to be on the disk
/// before an answer leaves is handed back with it. Where that cannot be written, the answer does not
/// leave, the client asks again, and gets the same address.
package final class LeaseMachine {
  /// How long leases last, in seconds.
  package let leaseSeconds: Int64
  /// How long an offer is kept for a client, in seconds: firmware waits up to 32 for better ones.
  package let offerSeconds: Int64
  /// How long an address that a stranger uses is given to nobody, in seconds.
  package let declineSeconds: Int64
  /// How many free addresses of each network are to be probed ahead; 0 for none.
  package let reserveSize: Int
  let pools: [AddressPool]
  var strangers = StrangerCount()

  /// - Parameters:
  ///   - networks: Their order gives the numbers used in ``handle(_:from:network:now:book:)``.
  ///   - leases: What is on record; leases of networks not served any more are left alone.
  ///   - reserveSize: How many free addresses of each network are to be probed ahead; 0 for none.
  package init(
    networks: [LeaseNetwork], leases: [Lease] = [], leaseSeconds: Int64, offerSeconds: Int64 = 60,
    declineSeconds: Int64 = 600, reserveSize: Int = 0
  ) {
    self.leaseSeconds = leaseSeconds
    self.offerSeconds = offerSeconds
    self.declineSeconds = declineSeconds
    self.reserveSize = reserveSize
    let pools = networks.map { AddressPool($0, reserveSize: reserveSize) }
    self.pools = pools
    for lease in leases {
      guard let index = networks.firstIndex(where: { $0.subnet.contains(lease.address) }) else { continue }
      pools[index].restore(lease)
    }
  }

  /// The lease on record for an address.
  package func lease(at address: IPv4Address) -> Lease? {
    for pool in pools where pool.network.subnet.contains(address) { return pool.lease(at: address) }
    return nil
  }

  /// Decides about one event.
  /// - Parameters:
  ///   - network: The number of the network the client is in.
  ///   - now: Seconds since 1970-01-01 UTC.
  ///   - book: Who is on record.
  package func handle(
    _ event: LeaseEvent, from client: LeaseClient, network: Int, now: Int64,
    book: AddressBook = AddressBook()
  ) -> LeaseDecision {
    switch event {
    case .discover(let requested):
      return discover(requested, client, network, now, book)
    case .select(let address):
      return select(address, client, network, now, book)
    case .selectOther:
      // RFC 2131, section 3.1, point 4: "Those servers not selected by the DHCPREQUEST message use
      // the message as notification that the client has declined that server's offer."
      pools[network].dropOffer(to: client.holder)
      return LeaseDecision(outcome: .silence, reason: .tookOther)
    case .reboot(let address):
      return reboot(address, client, network, now, book)
    case .renew(let address):
      return extend(address, client, network, now, book, isBroadcast: false)
    case .rebind(let address):
      return extend(address, client, network, now, book, isBroadcast: true)
    case .decline(let address):
      return decline(address, client, network, now)
    case .release(let address):
      return release(address, client, network, now)
    }
  }

  // MARK: Events

  /// Section 4.3.1: "The client's current address as recorded in the client's current binding, ELSE
  /// the client's previous address ... ELSE the address requested in the 'Requested IP Address'
  /// option ... ELSE a new address allocated from the server's pool". A reservation comes before all.
  private func discover(
    _ requested: IPv4Address?, _ client: LeaseClient, _ network: Int, _ now: Int64,
    _ book: AddressBook
  ) -> LeaseDecision {
    let holder = client.holder
    if let address = client.reservation, isFree(address, for: client, network, now, book) {
      return offer(address, holder, network, now, .reserved)
    }
    // What the client could not take after all is not offered again.
    if let address = pools[network].offer(to: holder, at: now), isGiveable(address, client, network, now, book),
      mayTake(address, client, network, book)
    {
      return offer(address, holder, network, now, .offeredBefore)
    }
    if let address = pools[network].address(of: holder), isGiveable(address, client, network, now, book) {
      return offer(address, holder, network, now, .heldBefore)
    }
    if let requested, isGiveable(requested, client, network, now, book),
      mayTake(requested, client, network, book)
    {
      return offer(requested, holder, network, now, .asked)
    }
    let isKnown = book.isKnown(holder)
    if let next = pools[network].next(for: holder, isKnown: isKnown, at: now, offerSeconds: offerSeconds, book) {
      var decision = offer(next.address, holder, network, now, next.reason)
      decision.isUnprobed = reserveSize > 0 && !next.isProbed
      return decision
    }
    if isKnown, let address = pools[network].reclaim(for: holder, at: now, book) {
      return offer(address, holder, network, now, .reclaimed)
    }
    return LeaseDecision(outcome: .silence, reason: .poolExhausted)
  }

  private func select(
    _ address: IPv4Address, _ client: LeaseClient, _ network: Int, _ now: Int64,
    _ book: AddressBook
  ) -> LeaseDecision {
    // An offer that ran out, or that was made before a restart, is as good as new while its address is free.
    if isGiveable(address, client, network, now, book), mayTake(address, client, network, book) {
      return bind(address, client, network, now, .granted)
    }
    return refuse(address, client, network, now, book, otherwise: .notOffered)
  }

  /// Section 4.3.2: "Server SHOULD send a DHCPNAK message to the client if the 'requested IP address'
  /// is incorrect, or is on the wrong network." - "If the DHCP server has no record of this client,
  /// then it MUST remain silent".
  private func reboot(
    _ address: IPv4Address, _ client: LeaseClient, _ network: Int, _ now: Int64,
    _ book: AddressBook
  ) -> LeaseDecision {
    guard pools[network].network.subnet.contains(address) else {
      return LeaseDecision(outcome: .refuse(address), reason: .wrongNetwork)
    }
    if let reservation = client.reservation, reservation != address,
      isFree(reservation, for: client, network, now, book)
    {
      return LeaseDecision(outcome: .refuse(address), reason: .otherAddress)
    }
    if pools[network].address(of: client.holder) == address || client.reservation == address {
      if isGiveable(address, client, network, now, book) {
        return bind(address, client, network, now, .confirmed)
      }
      return refuse(address, client, network, now, book, otherwise: .heldByOther)
    }
    if pools[network].address(of: client.holder) != nil {
      return LeaseDecision(outcome: .refuse(address), reason: .otherAddress)
    }
    if isHeldByOther(address, client, network, now) {
      return LeaseDecision(outcome: .refuse(address), reason: .heldByOther)
    }
    return LeaseDecision(outcome: .silence, reason: .unknownClient)
  }

  /// RENEWING and REBINDING. A client in use of its address keeps it, also where another is set aside
  /// for it since: that one it gets when it begins anew. Only an address of somebody else is taken away.
  private func extend(
    _ address: IPv4Address, _ client: LeaseClient, _ network: Int, _ now: Int64,
    _ book: AddressBook, isBroadcast: Bool
  ) -> LeaseDecision {
    guard pools[network].network.subnet.contains(address) else {
      // What everybody was asked may be another server's to answer.
      return LeaseDecision(outcome: isBroadcast ? .silence : .refuse(address), reason: .wrongNetwork)
    }
    if let lease = pools[network].lease(at: address), lease.holder == client.holder, lease.state == .bound,
      isFree(address, for: client, network, now, book)
    {
      return bind(address, client, network, now, .renewed)
    }
    if isHeldByOther(address, client, network, now) {
      return LeaseDecision(outcome: .refuse(address), reason: .heldByOther)
    }
    if pools[network].isReserved(address, forOtherThan: client.holder, book) {
      return LeaseDecision(outcome: .refuse(address), reason: .reservedForOther)
    }
    if isBroadcast, pools[network].address(of: client.holder) != address {
      return LeaseDecision(outcome: .silence, reason: .unknownClient)
    }
    if isGiveable(address, client, network, now, book), mayTake(address, client, network, book) {
      return bind(address, client, network, now, .recovered)
    }
    return LeaseDecision(outcome: .refuse(address), reason: .notHolder)
  }

  /// Section 4.3.3: "If the server receives a DHCPDECLINE message, the client has discovered through
  /// some other means that the suggested network address is already in use. The server MUST mark the
  /// network address as not available". Only who has the address can do that.
  private func decline(
    _ address: IPv4Address, _ client: LeaseClient, _ network: Int, _ now: Int64
  ) -> LeaseDecision {
    guard holds(address, client.holder, network, now) else {
      return LeaseDecision(outcome: .silence, reason: .notHolder)
    }
    pools[network].dropOffer(to: client.holder)
    let lease = Lease(
      address: address, holder: client.holder, state: .declined, expires: now + declineSeconds)
    pools[network].record(lease)
    return LeaseDecision(outcome: .silence, reason: .declined, changes: [lease])
  }

  /// Section 4.3.4: "the server SHOULD retain a record of the client's initialization parameters for
  /// possible reuse in response to subsequent requests from the client."
  private func release(
    _ address: IPv4Address, _ client: LeaseClient, _ network: Int, _ now: Int64
  ) -> LeaseDecision {
    guard var lease = pools[network].lease(at: address), lease.holder == client.holder, lease.state == .bound else {
      return LeaseDecision(outcome: .silence, reason: .notHolder)
    }
    lease.state = .released
    lease.expires = min(lease.expires, now)
    pools[network].record(lease)
    return LeaseDecision(outcome: .silence, reason: .released, changes: [lease])
  }

  // MARK: Parts of decisions

  private func offer(
    _ address: IPv4Address, _ holder: LeaseHolder, _ network: Int, _ now: Int64, _ reason: LeaseReason
  ) -> LeaseDecision {
    pools[network].setOffer(address, to: holder, until: now + offerSeconds)
    return LeaseDecision(outcome: .offer(address), reason: reason)
  }

  private func bind(
    _ address: IPv4Address, _ client: LeaseClient, _ network: Int, _ now: Int64, _ reason: LeaseReason
  ) -> LeaseDecision {
    var changes: [Lease] = []
    if let before = pools[network].address(of: client.holder), before != address,
      var old = pools[network].lease(at: before), old.holder == client.holder, old.state == .bound
    {
      old.state = .released
      old.expires = min(old.expires, now)
      pools[network].record(old)
      changes.append(old)
    }
    let lease = Lease(
      address: address, holder: client.holder, state: .bound, expires: now + leaseSeconds, hostName: client.hostName)
    pools[network].dropOffer(to: client.holder)
    pools[network].record(lease)
    changes.append(lease)
    return LeaseDecision(outcome: .acknowledge(address), reason: reason, changes: changes)
  }

  private func refuse(
    _ address: IPv4Address, _ client: LeaseClient, _ network: Int, _ now: Int64,
    _ book: AddressBook, otherwise reason: LeaseReason
  ) -> LeaseDecision {
    let why: LeaseReason =
      if !pools[network].network.subnet.contains(address) {
        .wrongNetwork
      } else if pools[network].isReserved(address, forOtherThan: client.holder, book) {
        .reservedForOther
      } else if isHeldByOther(address, client, network, now) {
        .heldByOther
      } else {
        reason
      }
    return LeaseDecision(outcome: .refuse(address), reason: why)
  }

  /// Whether the client may be given the address now.
  func isFree(
    _ address: IPv4Address, for client: LeaseClient, _ network: Int, _ now: Int64,
    _ book: AddressBook
  ) -> Bool {
    pools[network].isFree(address, for: client.holder, at: now, book)
  }

  /// Free, and one to give out: of the pool, this client's reservation, or what it holds already.
  private func isGiveable(
    _ address: IPv4Address, _ client: LeaseClient, _ network: Int, _ now: Int64,
    _ book: AddressBook
  ) -> Bool {
    guard isFree(address, for: client, network, now, book) else { return false }
    return pools[network].network.isPooled(address) || address == client.reservation
      || holds(address, client.holder, network, now)
  }

  /// Whether a free address is this client's to take, whom registered machines come before.
  private func mayTake(
    _ address: IPv4Address, _ client: LeaseClient, _ network: Int, _ book: AddressBook
  ) -> Bool {
    if pools[network].address(of: client.holder) == address || address == client.reservation { return true }
    if book.isKnown(client.holder) {
      return !pools[network].isKept(address, from: client.holder, book)
        || pools[network].hasOffer(of: address, to: client.holder)
    }
    return !pools[network].isKept(address, from: client.holder, book) && pools[network].isLeft(address, book)
  }

  private func holds(_ address: IPv4Address, _ holder: LeaseHolder, _ network: Int, _ now: Int64) -> Bool {
    if pools[network].offer(to: holder, at: now) == address { return true }
    guard let lease = pools[network].lease(at: address) else { return false }
    return lease.holder == holder && lease.state == .bound && lease.expires > now
  }

  private func isHeldByOther(
    _ address: IPv4Address, _ client: LeaseClient, _ network: Int, _ now: Int64
  ) -> Bool {
    guard let lease = pools[network].lease(at: address) else { return false }
    return lease.holder != client.holder && lease.state == .bound && lease.expires > now
  }
}
