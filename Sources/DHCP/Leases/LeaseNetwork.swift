package import NetworkTypes

/// One network and the addresses of it that may be given out.
package struct LeaseNetwork: Hashable, Sendable {
  package var subnet: IPv4Subnet
  /// Where addresses come from for clients without a reservation; disjoint, inside the subnet.
  package var ranges: [IPv4Range]
  /// Never given to anyone: the server's own addresses, the router.
  package var excluded: Set<IPv4Address>

  package init(subnet: IPv4Subnet, ranges: [IPv4Range], excluded: Set<IPv4Address> = []) {
    self.subnet = subnet
    self.ranges = ranges
    self.excluded = excluded
  }

  func mayHost(_ address: IPv4Address) -> Bool {
    subnet.isHost(address) && !excluded.contains(address)
  }

  func isPooled(_ address: IPv4Address) -> Bool {
    ranges.contains { $0.contains(address) }
  }
}
