package import NetworkTypes

/// What is to be done about an answer for an address that nobody should have.
package enum ProbeFinding: Hashable, Sendable {
  /// A stranger uses it: write the lease, which keeps everybody from it for a while.
  case stranger(Lease)
  /// The client that had it last goes on using it: only that client gets it for a while.
  case formerHolder
  /// One card answers for more addresses than a machine has: a router that answers for others (proxy ARP).
  /// What it says counts no more.
  case answersForOthers
  /// Nothing: it is somebody's, or not of the pool.
  case none
}

/// Probing free addresses ahead of time, so that an offer never waits for a probe. Who sends the probes
/// stands outside: it asks for addresses, and says what came of them.
extension LeaseMachine {
  /// Addresses to probe now, in the order in which they will be given out.
  package func addressesToProbe(
    network: Int, atMost count: Int, now: Int64, book: AddressBook
  ) -> [IPv4Address] {
    pools[network].toProbe(atMost: count, at: now, book)
  }

  /// How many addresses of all networks are in reserve.
  package var readyCount: Int { pools.reduce(0) { $0 + $1.readyCount } }

  /// Nobody answered for an address that was probed.
  package func silent(_ address: IPv4Address, network: Int, now: Int64) {
    pools[network].silent(address, at: now)
  }

  /// An address could not be probed.
  package func unprobed(_ address: IPv4Address, network: Int, now: Int64) {
    pools[network].withdraw(address, until: now)
  }

  /// Somebody uses an address, as an answer to a probe or a word of its own shows.
  /// - Parameter card: Whose, where that can be seen.
  package func heard(
    from address: IPv4Address, _ card: MACAddress?, network: Int, now: Int64
  ) -> ProbeFinding {
    guard pools[network].isInReserve(address) else { return .none }
    let holder = card.map(LeaseHolder.hardware)
    if let offeree = pools[network].offeree(of: address, at: now), offeree == holder { return .none }
    if let lease = pools[network].lease(at: address), lease.state != .declined {
      if lease.state == .bound, lease.expires > now { return .none }
      if lease.holder == holder {
        pools[network].withdraw(address, until: now + declineSeconds)
        return .formerHolder
      }
    }
    if let card, !strangers.mayCount(card, at: now, seconds: declineSeconds) {
      pools[network].silent(address, at: now)
      return .answersForOthers
    }
    if let offeree = pools[network].offeree(of: address, at: now) { pools[network].dropOffer(to: offeree) }
    let lease = Lease(
      address: address, holder: holder ?? .nobody, state: .declined, expires: now + declineSeconds)
    pools[network].record(lease)
    pools[network].withdraw(address, until: lease.expires)
    return .stranger(lease)
  }
}

/// For how many addresses each card has answered.
struct StrangerCount: Sendable {
  /// More addresses than this are no machine's own: blocking them all would end in a pool without any.
  static let addressLimit = 32
  private static let cardLimit = 1024
  private var counts: [MACAddress: (count: Int, until: Int64)] = [:]

  /// Counts one more address.
  /// - Returns: `false` where the card has answered for too many within so many seconds.
  mutating func mayCount(_ card: MACAddress, at now: Int64, seconds: Int64) -> Bool {
    if counts.count >= Self.cardLimit { counts = counts.filter { $0.value.until > now } }
    if counts.count >= Self.cardLimit { counts = [:] }
    var (count, until) = counts[card] ?? (0, now + seconds)
    if until <= now { (count, until) = (0, now + seconds) }
    guard count < Self.addressLimit else { return false }
    counts[card] = (count + 1, until)
    return true
  }
}
