package import NetworkTypes

/// What stage 1 leaves in `/run/perseid/node.json`: who this node is, for the client in the running system.
package struct NodeRecord: Hashable, Sendable, Codable {
  package var version = 1
  /// The appliance: numeric address and port.
  package var server: IPv4Address
  package var port: UInt16
  /// Where to report when that one does not answer, in this order; `nil`: nowhere.
  package var otherServers: [Server]?
  package var boot: String?
  package var nodeName: String
  /// Every wired card, the one that booted first.
  package var hardwareAddresses: [MACAddress]
  /// The interface that booted.
  package var interface: String
  /// What DHCP knows an InfiniBand port by (option 61); `nil` for Ethernet.
  package var clientIdentifier: [UInt8]?
  /// The digest of the capsule manifest the root came from.
  package var generation: String?
  /// The state to report first.
  package var nextState: String
  /// Seconds between reports.
  package var intervalSeconds: Int?

  package struct Server: Hashable, Sendable, Codable, CustomStringConvertible {
    package var address: IPv4Address
    package var port: UInt16

    /// As the kernel's command line has it: `10.0.0.1:9870`.
    package var description: String { "\(address):\(port)" }

    package init(address: IPv4Address, port: UInt16) {
      self.address = address
      self.port = port
    }
  }

  package init(
    server: IPv4Address, port: UInt16, otherServers: [Server]? = nil, boot: String?, nodeName: String,
    hardwareAddresses: [MACAddress], interface: String, clientIdentifier: [UInt8]? = nil, generation: String?,
    nextState: String, intervalSeconds: Int?
  ) {
    self.server = server
    self.port = port
    self.otherServers = otherServers
    self.boot = boot
    self.nodeName = nodeName
    self.hardwareAddresses = hardwareAddresses
    self.interface = interface
    self.clientIdentifier = clientIdentifier
    self.generation = generation
    self.nextState = nextState
    self.intervalSeconds = intervalSeconds
  }

  package static let path = "/run/perseid/node.json"

  /// Others that a node turns to, at most: the kernel's command line has no room for more.
  package static let serverLimit = 8
}

/// What stage 1 leaves in `/run/perseid/lease.json`: the address it was given, for whoever renews it.
package struct LeaseRecord: Hashable, Sendable, Codable {
  package var version = 1
  package var address: IPv4Address
  package var prefixLength: Int
  package var router: IPv4Address?
  /// Option 54: whom to ask for a renewal.
  package var serverIdentifier: IPv4Address
  /// Seconds the address may be used, from `obtainedAt`.
  package var seconds: UInt32
  /// CLOCK_BOOTTIME seconds: it goes on through suspend and does not follow the wall clock.
  package var obtainedAt: Double
  /// Option 26: the largest packet of the network, in bytes; absent where the server named none, as below.
  package var mtu: UInt16?
  /// Option 119: where names are looked up.
  package var domainSearch: [String]?
  /// Option 121 without the default route, which is `router`.
  package var routes: [Route]?

  package struct Route: Hashable, Sendable, Codable {
    package var destination: IPv4Subnet
    /// 0.0.0.0: the destination is on the node's own link.
    package var router: IPv4Address

    package init(destination: IPv4Subnet, router: IPv4Address) {
      self.destination = destination
      self.router = router
    }
  }

  package init(
    address: IPv4Address, prefixLength: Int, router: IPv4Address?, serverIdentifier: IPv4Address, seconds: UInt32,
    obtainedAt: Double, mtu: UInt16? = nil, domainSearch: [String]? = nil, routes: [Route]? = nil
  ) {
    self.address = address
    self.prefixLength = prefixLength
    self.router = router
    self.serverIdentifier = serverIdentifier
    self.seconds = seconds
    self.obtainedAt = obtainedAt
    self.mtu = mtu
    self.domainSearch = domainSearch
    self.routes = routes
  }

  package static let path = "/run/perseid/lease.json"
}

extension NodeRecord {
  /// Largest handed-over file that is read, in bytes.
  package static let sizeLimit = 64 << 10
}
