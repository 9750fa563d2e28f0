package import DHCPWire
package import NetworkTypes

/// An address a DHCP server gave this machine, and what came with it.
package struct AcquiredLease: Hashable, Sendable {
  package var address: IPv4Address
  /// Bits of the network's prefix, from option 1; 32 where the server sent none.
  package var prefixLength: Int
  /// The default route: that of option 121 where the server sent one, else the first of option 3.
  package var router: IPv4Address?
  /// Option 54: the server that gave the address, to be asked again when it renews.
  package var serverIdentifier: IPv4Address
  /// Option 51: seconds from `obtainedAt` until the address must no longer be used; `UInt32.max` is for ever.
  package var leaseSeconds: UInt32
  /// T1 (option 58, else half the lease): seconds from `obtainedAt` until the server is asked to renew.
  package var renewalSeconds: UInt32
  /// T2 (option 59, else seven eighths): seconds from `obtainedAt` until any server is asked.
  package var rebindingSeconds: UInt32
  /// When the request that was acknowledged was sent, in seconds of CLOCK_BOOTTIME.
  package var obtainedAt: Int64
  /// Option 12.
  package var hostName: String?
  /// Option 6.
  package var nameServers: [IPv4Address]
  /// Option 15.
  package var domain: String?
  /// Option 42.
  package var timeServers: [IPv4Address]
  /// Option 26: the largest packet of the network, in bytes with its IP header.
  package var mtu: UInt16?
  /// Option 119: where names are looked up, first to last.
  package var domainSearch: [String]
  /// Option 121 without the default route, which is ``router``.
  package var routes: [ClasslessRoute]

  package init(
    address: IPv4Address, prefixLength: Int, router: IPv4Address?, serverIdentifier: IPv4Address,
    leaseSeconds: UInt32, renewalSeconds: UInt32, rebindingSeconds: UInt32, obtainedAt: Int64,
    hostName: String? = nil, nameServers: [IPv4Address] = [], domain: String? = nil, timeServers: [IPv4Address] = [],
    mtu: UInt16? = nil, domainSearch: [String] = [], routes: [ClasslessRoute] = []
  ) {
    self.address = address
    self.prefixLength = prefixLength
    self.router = router
    self.serverIdentifier = serverIdentifier
    self.leaseSeconds = leaseSeconds
    self.renewalSeconds = renewalSeconds
    self.rebindingSeconds = rebindingSeconds
    self.obtainedAt = obtainedAt
    self.hostName = hostName
    self.nameServers = nameServers
    self.domain = domain
    self.timeServers = timeServers
    self.mtu = mtu
    self.domainSearch = domainSearch
    self.routes = routes
  }

  /// Never runs out.
  package var isInfinite: Bool { leaseSeconds == .max }
  /// The second of CLOCK_BOOTTIME at which to call ``DHCPClient/renew(_:on:hardwareAddress:vendorClass:hostName:within:)``.
  package var renewAt: Int64 { isInfinite ? .max : obtainedAt + Int64(renewalSeconds) }
  /// The second of CLOCK_BOOTTIME from which any server may be asked, by broadcast.
  package var rebindAt: Int64 { isInfinite ? .max : obtainedAt + Int64(rebindingSeconds) }
  /// The second of CLOCK_BOOTTIME at which the address must no longer be used.
  package var expiresAt: Int64 { isInfinite ? .max : obtainedAt + Int64(leaseSeconds) }
}
