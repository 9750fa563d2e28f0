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
  /// Asked for, and not yet known; some of them are among `entries` and asked for again.
  private(set) var probing: Set<IPv4Address> = []
  private var refreshing = 0

  init(size: Int) {
    self.size = size
    entries.reserveCapacity(size)
  }

  /// How many more addresses to probe, so that the reserve is full when they are found free.
  var missing: Int { max(0, size - entries.count - (probing.count - refreshing)) }

  /// An address whose probe was long ago, to be probed again.
  mutating func nextToRefresh(at now: Int64) -> IPv4Address? {
    // Those asked for again come first until they are known, and there are few of them.
    for entry in entries where !probing.contains(entry.address) {
      guard now - entry.time >= Self.refreshSeconds else { return nil }
      probing.insert(entry.address)
      refreshing += 1
      return entry.address
    }
    return nil
  }

  mutating func begin(_ address: IPv4Address) {
    probing.insert(address)
  }

  /// Nobody answered.
  mutating func silent(_ address: IPv4Address, at now: Int64) {
    guard probing.remove(address) != nil else { return }
    if let index = entries.firstIndex(where: { $0.address == address }) {
      entries.remove(at: index)
      refreshing -= 1
    }
    entries.append(Entry(address: address, time: now))
  }

  func contains(_ address: IPv4Address) -> Bool {
    probing.contains(address) || entries.contains { $0.address == address }
  }

  /// Forgets an address.
  /// - Returns: Whether it was here.
  mutating func remove(_ address: IPv4Address) -> Bool {
    let wasProbing = probing.remove(address) != nil
    guard let index = entries.firstIndex(where: { $0.address == address }) else { return wasProbing }
    entries.remove(at: index)
    if wasProbing { refreshing -= 1 }
    return true
  }

  /// Takes out the first address that `isWanted`.
  mutating func take(where isWanted: (IPv4Address) -> Bool) -> Entry? {
    guard let index = entries.firstIndex(where: { isWanted($0.address) }) else { return nil }
    let entry = entries.remove(at: index)
    if probing.remove(entry.address) != nil { refreshing -= 1 }
    return entry
  }
}
