import NetworkTypes

/// Free addresses of a pool that nobody answered for when they were probed, the longest ago first.
struct ProbeReserve {
  struct Entry {
    var address: IPv4Address
    /// When the probe ended, in seconds.
    var time: Int64
  }

  /// Seconds after which an address is probed again, and after which its probe says nothing any more.
  static let refreshSeconds: Int64 = 300
  static let staleSeconds: Int64 = 600

  /// How many addresses are kept ready; 0: nothing is probed.
  let size: Int
  private(set) var entries: [Entry] = []
  /// Asked for, and not yet known, the longest ago first.
  private var probing: [IPv4Address] = []
  /// Of `entries`, asked for again.
  private var refreshing: Set<IPv4Address> = []
  /// Asked for, not yet known, and given out meanwhile.
  private var given: Set<IPv4Address> = []

  init(size: Int) {
    self.size = size
    entries.reserveCapacity(size)
  }

  /// How many more addresses to probe, so that the reserve is full when they are found free.
  var missing: Int { max(0, size - entries.count - probing.count) }

  /// An address whose probe was long ago, to be probed again.
  mutating func nextToRefresh(at now: Int64) -> IPv4Address? {
    // Those asked for again come first until they are known, and there are few of them.
    for entry in entries where !refreshing.contains(entry.address) {
      guard now - entry.time >= Self.refreshSeconds else { return nil }
      refreshing.insert(entry.address)
      return entry.address
    }
    return nil
  }

  mutating func begin(_ address: IPv4Address) {
    probing.append(address)
  }

  /// Nobody answered.
  mutating func silent(_ address: IPv4Address, at now: Int64) {
    if given.remove(address) != nil { return }
    guard removeWaiting(address) else { return }
    entries.append(Entry(address: address, time: now))
  }

  func contains(_ address: IPv4Address) -> Bool {
    given.contains(address) || probing.contains(address) || entries.contains { $0.address == address }
  }

  /// Forgets an address.
  /// - Returns: Whether it was here, and nowhere else.
  mutating func remove(_ address: IPv4Address) -> Bool {
    given.remove(address)
    return removeWaiting(address)
  }

  private mutating func removeWaiting(_ address: IPv4Address) -> Bool {
    if let index = probing.firstIndex(of: address) {
      probing.remove(at: index)
      return true
    }
    guard let index = entries.firstIndex(where: { $0.address == address }) else { return false }
    entries.remove(at: index)
    refreshing.remove(address)
    return true
  }

  /// Takes out the first address that `isWanted`: one found free, else one being asked for, which may yet turn
  /// out to be a stranger's and is then taken back.
  /// - Returns: With a time where it was found free.
  mutating func take(where isWanted: (IPv4Address) -> Bool) -> (address: IPv4Address, time: Int64?)? {
    if let index = entries.firstIndex(where: { isWanted($0.address) }) {
      let entry = entries.remove(at: index)
      refreshing.remove(entry.address)
      return (entry.address, entry.time)
    }
    guard let index = probing.firstIndex(where: isWanted) else { return nil }
    let address = probing.remove(at: index)
    given.insert(address)
    return (address, nil)
  }
}
