import ConfigurationFile
import DHCPWire
import Glibc
package import NetworkTypes

/// An interface of this machine with one of its IPv4 addresses.
package struct SystemInterface: Hashable, Sendable {
  package var name: String
  package var index: UInt32
  package var address: IPv4Address?
  package var prefixLength: Int
  package var isLoopback: Bool

  package init(name: String, index: UInt32, address: IPv4Address?, prefixLength: Int, isLoopback: Bool) {
    self.name = name
    self.index = index
    self.address = address
    self.prefixLength = prefixLength
    self.isLoopback = isLoopback
  }

  /// All there are now: an entry for each address, and one for an interface without any.
  package static func all() -> [SystemInterface] {
    var head: UnsafeMutablePointer<ifaddrs>?
    guard getifaddrs(&head) == 0 else { return [] }
    defer { freeifaddrs(head) }
    var found: [SystemInterface] = []
    var bare: [SystemInterface] = []
    var next = head
    while let entry = next {
      next = entry.pointee.ifa_next
      let name = String(cString: entry.pointee.ifa_name)
      var interface = SystemInterface(
        name: name, index: if_nametoindex(entry.pointee.ifa_name), address: nil, prefixLength: 0,
        isLoopback: entry.pointee.ifa_flags & UInt32(IFF_LOOPBACK) != 0)
      if let address = ipv4(entry.pointee.ifa_addr) {
        interface.address = address
        interface.prefixLength = ipv4(entry.pointee.ifa_netmask).map { $0.rawValue.nonzeroBitCount } ?? 32
        found.append(interface)
      } else if !bare.contains(where: { $0.name == name }) {
        bare.append(interface)
      }
    }
    return found + bare.filter { candidate in !found.contains { $0.name == candidate.name } }
  }

  private static func ipv4(_ address: UnsafeMutablePointer<sockaddr>?) -> IPv4Address? {
    guard let address, address.pointee.sa_family == sa_family_t(AF_INET) else { return nil }
    return address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
      IPv4Address(rawValue: UInt32(bigEndian: $0.pointee.sin_addr.s_addr))
    }
  }
}

/// An interface that nodes are served on.
package struct ServedInterface: Hashable, Sendable {
  package var name: String
  package var index: UInt32
  /// Ours on it.
  package var address: IPv4Address
  package var subnet: IPv4Subnet
  /// `nil` where addresses are not given from a pool here.
  package var pool: IPv4Range?

  package init(name: String, index: UInt32, address: IPv4Address, subnet: IPv4Subnet, pool: IPv4Range?) {
    self.name = name
    self.index = index
    self.address = address
    self.subnet = subnet
    self.pool = pool
  }

  /// The upper half of the network, without our own address: the larger part where that lies in it.
  package static func defaultPool(of subnet: IPv4Subnet, without own: IPv4Address) -> IPv4Range? {
    guard subnet.prefixLength <= 30 else { return nil }
    let lower = subnet.network.rawValue + 1
    let upper = subnet.broadcast.rawValue - 1
    let middle = subnet.network.rawValue + (subnet.broadcast.rawValue - subnet.network.rawValue) / 2 + 1
    func range(_ low: UInt32, _ high: UInt32) -> IPv4Range? {
      IPv4Range(IPv4Address(rawValue: low), IPv4Address(rawValue: high))
    }
    let low = max(lower, middle)
    guard let half = range(low, upper) else { return nil }
    guard half.contains(own) else { return half }
    let below = own.rawValue > low ? range(low, own.rawValue - 1) : nil
    let above = own.rawValue < upper ? range(own.rawValue + 1, upper) : nil
    switch (below, above) {
    case (let below?, let above?): return below.count > above.count ? below : above
    case (let part?, nil), (nil, let part?): return part
    case (nil, nil): return range(lower, own.rawValue - 1)
    }
  }
}

extension Configuration {
  /// Finds the interfaces, their addresses and their pools.
  /// - Throws: `ConfigurationError`, listing the interfaces there are.
  package func resolve(_ system: [SystemInterface] = SystemInterface.all()) throws -> [ServedInterface] {
    let key = "network.interface"
    var served: [ServedInterface] = []
    for name in network.interfaces {
      let candidates = system.filter { $0.name == name }
      guard !candidates.isEmpty else {
        let names = Set(system.filter { !$0.isLoopback }.map(\.name)).sorted().joined(separator: ", ")
        throw error(key, "found '\(name)', which this machine does not have; allowed are its interfaces: \(names).")
      }
      guard let interface = candidates.first(where: { $0.address != nil }), let address = interface.address,
        let subnet = IPv4Subnet(containing: address, prefixLength: interface.prefixLength)
      else {
        throw error(
          key,
          "found '\(name)', which has no IPv4 address; the nodes' network is taken from it. "
            + "Give it one, for example: ip address add 10.0.0.1/16 dev \(name).")
      }
      if let other = served.first(where: { $0.subnet.contains(subnet.network) || subnet.contains($0.subnet.network) }) {
        throw error(
          key,
          "found '\(other.name)' and '\(name)', whose networks overlap (\(other.subnet), \(subnet)); "
            + "allowed are interfaces on networks apart.")
      }
      served.append(ServedInterface(name: name, index: interface.index, address: address, subnet: subnet, pool: nil))
    }
    for (index, relayed) in dhcp.relayed.enumerated() {
      if let own = served.first(where: {
        $0.subnet.contains(relayed.subnet.network) || relayed.subnet.contains($0.subnet.network)
      }) {
        throw error(
          "dhcp.relayed[\(index)].subnet",
          "found \(relayed.subnet), which overlaps with \(own.subnet) on \(own.name); "
            + "allowed are networks behind a relay."
        )
      }
    }
    let subnets = served.map(\.subnet) + dhcp.relayed.map(\.subnet)
    if let route = dhcp.routes.first(where: { route in !subnets.contains { $0.isHost(route.router) } }) {
      throw error(
        "dhcp.routes",
        "found \(route), whose router is in none of the nodes' networks: "
          + "\(subnets.map(\.description).joined(separator: ", ")).")
    }
    if dhcp.mode == .authoritative { try setPools(&served) }
    return served
  }

  private func setPools(_ served: inout [ServedInterface]) throws {
    guard let pool = dhcp.pool else {
      for index in served.indices {
        guard let pool = ServedInterface.defaultPool(of: served[index].subnet, without: served[index].address) else {
          throw error(
            "network.interface",
            "found '\(served[index].name)' with the network \(served[index].subnet), which has no room for nodes; "
              + "allowed is a prefix of at most 30 bits.")
        }
        served[index].pool = pool
      }
      return
    }
    guard
      let index = served.firstIndex(where: { $0.subnet.isHost(pool.lowerBound) && $0.subnet.isHost(pool.upperBound) })
    else {
      let subnets = served.map { "\($0.subnet) on \($0.name)" }.joined(separator: ", ")
      throw error("dhcp.pool", "found \(pool), allowed are addresses of hosts in one network of ours: \(subnets).")
    }
    guard !pool.contains(served[index].address) else {
      throw error(
        "dhcp.pool",
        "found \(pool), which contains the appliance's own address \(served[index].address) on \(served[index].name); "
          + "allowed are addresses without it.")
    }
    served[index].pool = pool
  }
}
