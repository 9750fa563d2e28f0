import DHCP
package import NetworkTypes

/// An address as DHCP has given it out, or keeps it from being given out.
package struct LeaseView: Hashable, Sendable, Codable {
  package enum State: String, Hashable, Sendable, Codable, CaseIterable {
    /// The client's until it expires.
    case bound
    /// Its time is over: remembered for the client while nobody else needs it.
    case expired
    /// Given back by the client, and remembered for it likewise.
    case released
    /// Found in use by a stranger: nobody's until it expires.
    case declined
  }

  package var address: IPv4Address
  package var state: State
  /// Of the client; where the state is `declined`, of the stranger where its card is known.
  @OrNull package var mac: MACAddress?
  /// Of a client without a hardware address that DHCP could carry, as hexadecimal digits.
  @OrNull package var clientid: String?
  /// The node that the client is.
  @OrNull package var node: String?
  /// As the client calls itself (option 12).
  @OrNull package var hostName: String?
  package var expires: Timestamp
}

/// How much of a pool is given out.
package struct PoolView: Hashable, Sendable, Codable {
  package var network: IPv4Subnet
  package var pool: IPv4Range
  package var addresses: Int
  /// Leased now.
  package var bound: Int
  /// Set aside for nodes, or the last of a node, which does not have it now.
  package var kept: Int
  /// Found in use by strangers.
  package var declined: Int
  /// For whoever asks.
  package var free: Int
}

extension Appliance {
  /// Leases in the order of their addresses.
  /// - Parameter isAll: Those too whose time is over, and that are remembered.
  package func leases(all isAll: Bool, now: Timestamp = .now) -> [LeaseView] {
    let leases = leasesWithNodes().sorted { $0.lease.address < $1.lease.address }
    return leases.compactMap { lease, node in
      let state = lease.viewState(now)
      guard isAll || state == .bound || state == .declined else { return nil }
      var found = LeaseView(
        address: lease.address, state: state, mac: nil, clientid: nil, node: node,
        hostName: lease.hostName.map { printable($0, 64) }, expires: Timestamp(milliseconds: lease.expires &* 1000))
      switch lease.holder {
      case .hardware(let mac): found.mac = mac
      case .identifier(let bytes):
        found.clientid = bytes.isEmpty ? nil : MachineIdentity.hexadecimal(bytes, separator: "")
      }
      return found
    }
  }

  /// All leases, with the names of the nodes that hold them. What is made of them is made outside of the registry,
  /// whose lock every packet needs.
  private func leasesWithNodes() -> [(lease: Lease, node: String?)] {
    registry.read { view in
      var found: [(lease: Lease, node: String?)] = []
      found.reserveCapacity(view.leases.count)
      for lease in view.leases.values { found.append((lease, view.nodeName(holding: lease))) }
      return found
    }
  }

  /// The pools that addresses are given from, as the interfaces are at this moment; none in proxy mode.
  package func pools() -> [PoolView] {
    guard configuration.dhcp.mode == .authoritative, let served = try? configuration.resolve() else { return [] }
    return pools(of: served)
  }

  package func pools(of served: [ServedInterface], now: Timestamp = .now) -> [PoolView] {
    var pools = served.compactMap { interface in
      interface.pool.map { (network: interface.subnet, pool: $0, router: configuration.dhcp.router) }
    }
    pools += configuration.dhcp.relayed.map { ($0.subnet, $0.pool, $0.router) }
    let leases = leasesWithNodes()
    let setAside = registry.read { Set($0.nodes.values.lazy.compactMap(\.address)) }
    return pools.map { network, pool, router in
      let hasRouter = router.map(pool.contains) ?? false
      var counted = PoolView(
        network: network, pool: pool, addresses: pool.count - (hasRouter ? 1 : 0), bound: 0, kept: 0, declined: 0,
        free: 0)
      counted.kept = setAside.count(where: pool.contains)
      for (lease, node) in leases where pool.contains(lease.address) {
        let isSetAside = setAside.contains(lease.address)
        switch lease.viewState(now) {
        case .bound:
          counted.bound += 1
          if isSetAside { counted.kept -= 1 }
        case .declined:
          counted.declined += 1
          if isSetAside { counted.kept -= 1 }
        case .expired, .released:
          if !isSetAside && node != nil { counted.kept += 1 }
        }
      }
      counted.free = max(0, counted.addresses - counted.bound - counted.kept - counted.declined)
      return counted
    }
  }
}

extension Lease {
  fileprivate func viewState(_ now: Timestamp) -> LeaseView.State {
    switch state {
    case .bound: expires > now.milliseconds / 1000 ? .bound : .expired
    case .declined: expires > now.milliseconds / 1000 ? .declined : .expired
    case .released: .released
    }
  }
}
