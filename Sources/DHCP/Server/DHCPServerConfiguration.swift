package import DHCPWire
package import NetworkTypes

/// How the DHCP server serves one interface.
package struct DHCPServerConfiguration: Hashable, Sendable {
  package enum Mode: String, Hashable, Sendable {
    /// Gives addresses, and refuses wrong ones at once.
    case authoritative
    /// Adds the boot to another server's addresses.
    case proxy
    case off
  }

  /// A network, and what its clients are told of it.
  package struct Network: Hashable, Sendable {
    package var subnet: IPv4Subnet
    /// Addresses for clients without a reservation.
    package var pools: [IPv4Range]
    package var router: IPv4Address?
    /// Option 26: the largest packet of the network, in bytes with its IP header.
    package var mtu: UInt16?
    /// Option 119.
    package var domainSearch: [String]
    /// Option 121, without the default route, which is ``router``.
    package var routes: [ClasslessRoute]

    package init(
      subnet: IPv4Subnet, pools: [IPv4Range], router: IPv4Address? = nil, mtu: UInt16? = nil,
      domainSearch: [String] = [], routes: [ClasslessRoute] = []
    ) {
      self.subnet = subnet
      self.pools = pools
      self.router = router
      self.mtu = mtu
      self.domainSearch = domainSearch
      self.routes = routes
    }
  }

  package var mode: Mode
  /// The card: `eth1`.
  package var interface: String
  /// The appliance's address on that card: the server identifier (option 54) and `siaddr`.
  package var serverAddress: IPv4Address
  /// The network of the card itself.
  package var network: Network
  /// Networks behind relay agents.
  package var relayed: [Network]
  /// How long leases last.
  package var leaseSeconds: UInt32
  package var nameServers: [IPv4Address]
  package var domain: String?
  package var timeServers: [IPv4Address]
  /// Whether BOOTP clients without a reservation get addresses of the pool. They never renew: such an
  /// address may be another's once ``leaseSeconds`` have passed.
  package var allowsDynamicBOOTP: Bool
  /// Whether free addresses are probed before they are offered.
  package var probesConflicts: Bool
  /// Milliseconds to wait for the answers of other servers before the first client is answered; 0 not to look.
  package var searchMilliseconds: Int

  package init(
    mode: Mode = .authoritative, interface: String, serverAddress: IPv4Address, network: Network,
    relayed: [Network] = [], leaseSeconds: UInt32 = 3600, nameServers: [IPv4Address] = [], domain: String? = nil,
    timeServers: [IPv4Address] = [], allowsDynamicBOOTP: Bool = false, probesConflicts: Bool = true,
    searchMilliseconds: Int = 0
  ) {
    self.mode = mode
    self.interface = interface
    self.serverAddress = serverAddress
    self.network = network
    self.relayed = relayed
    self.leaseSeconds = leaseSeconds
    self.nameServers = nameServers
    self.domain = domain
    self.timeServers = timeServers
    self.allowsDynamicBOOTP = allowsDynamicBOOTP
    self.probesConflicts = probesConflicts
    self.searchMilliseconds = searchMilliseconds
  }

  /// The card's own network first, then those behind relay agents: their numbers in the lease machine.
  package var networks: [Network] { [network] + relayed }

  /// Whether leases are ours: another server's addresses are not probed for conflicts, and that server is no stranger.
  package var givesAddresses: Bool { mode == .authoritative }
}
