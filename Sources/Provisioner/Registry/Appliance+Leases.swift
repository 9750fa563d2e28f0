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
    registry.read { view in
      var leases: [LeaseView] = []
      for lease in view.leases.values {
        let state = lease.viewState(now)
        guard isAll || state == .bound || state == .declined else { continue }
        var found = LeaseView(
          address: lease.address, state: state, mac: nil, clientid: nil, node: view.node(of: lease)?.name,
          hostName: lease.hostName.map { printable($0, 64) }, expires: Timestamp(milliseconds: lease.expires &* 1000))
        switch lease.holder {
        case .hardware(let mac): found.mac = mac
        case .identifier(let bytes):
          found.clientid = bytes.isEmpty ? nil : MachineIdentity.hexadecimal(bytes, separator: "")
        }
        leases.append(found)
      }
      return leases.sorted { $0.address < $1.address }
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
    return pools.map { network, pool, router in
      let hasRouter = router.map(pool.contains) ?? false
      var counted = PoolView(
        network: network, pool: pool, addresses: pool.count - (hasRouter ? 1 : 0), bound: 0, kept: 0, declined: 0,
        free: 0)
      registry.read { view in
        for lease in view.leases.values where pool.contains(lease.address) {
          switch lease.viewState(now) {
          case .bound: counted.bound += 1
          case .declined: counted.declined += 1
          case .expired, .released:
            if view.node(reserving: lease.address) == nil, view.node(of: lease) != nil { counted.kept += 1 }
          }
        }
        for node in view.nodes.values {
          guard let address = node.address, pool.contains(address) else { continue }
          switch view.leases[address]?.viewState(now) {
          case .bound, .declined: break
          case .expired, .released, nil: counted.kept += 1
          }
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

extension RegistryView {
  fileprivate borrowing func node(of lease: Lease) -> Node? {
    switch lease.holder {
    case .hardware(let mac): node(with: mac)
    case .identifier(let bytes): node(withClientIdentifier: bytes)
    }
  }
}
