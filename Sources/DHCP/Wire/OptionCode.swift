/// The number of a DHCP option (RFC 2132 and its successors). Any byte is a code; those named here
/// are the ones this code reads or writes.
package struct DHCPOptionCode: Hashable, Sendable, RawRepresentable {
  package let rawValue: UInt8

  package init(rawValue: UInt8) {
    self.rawValue = rawValue
  }

  package init(_ rawValue: UInt8) {
    self.rawValue = rawValue
  }

  /// Fills space; has no length (RFC 2132, section 3.1).
  package static let pad = Self(0)
  package static let subnetMask = Self(1)
  package static let router = Self(3)
  package static let nameServers = Self(6)
  package static let hostName = Self(12)
  package static let domainName = Self(15)
  package static let interfaceMTU = Self(26)
  package static let broadcastAddress = Self(28)
  package static let timeServers = Self(42)
  package static let vendorSpecific = Self(43)
  package static let requestedAddress = Self(50)
  package static let leaseTime = Self(51)
  package static let overload = Self(52)
  package static let messageType = Self(53)
  package static let serverIdentifier = Self(54)
  package static let parameterRequestList = Self(55)
  package static let message = Self(56)
  package static let maximumMessageSize = Self(57)
  package static let renewalTime = Self(58)
  package static let rebindingTime = Self(59)
  package static let vendorClass = Self(60)
  package static let clientIdentifier = Self(61)
  package static let tftpServerName = Self(66)
  package static let bootFileName = Self(67)
  /// RFC 3004, and what iPXE sends in its place.
  package static let userClass = Self(77)
  /// RFC 3046.
  package static let relayAgentInformation = Self(82)
  /// RFC 4578: the client's architectures.
  package static let clientArchitecture = Self(93)
  /// RFC 4578: the client's network interface.
  package static let clientInterface = Self(94)
  /// RFC 4578: the machine's GUID.
  package static let machineIdentifier = Self(97)
  /// RFC 3011.
  package static let subnetSelection = Self(118)
  /// RFC 3397.
  package static let domainSearch = Self(119)
  /// RFC 3442.
  package static let classlessRoutes = Self(121)
  /// iPXE's own options, encapsulated.
  package static let etherboot = Self(175)
  /// Ends the options; has no length (RFC 2132, section 3.2).
  package static let end = Self(255)
}

/// What a DHCP message is for: option 53 (RFC 2132, section 9.6).
package enum DHCPMessageType: UInt8, Hashable, Sendable {
  case discover = 1
  case offer = 2
  case request = 3
  case decline = 4
  case acknowledge = 5
  case refuse = 6
  case release = 7
  case inform = 8

  /// The name the RFC gives it, without `DHCP`.
  package var name: String {
    switch self {
    case .discover: "DISCOVER"
    case .offer: "OFFER"
    case .request: "REQUEST"
    case .decline: "DECLINE"
    case .acknowledge: "ACK"
    case .refuse: "NAK"
    case .release: "RELEASE"
    case .inform: "INFORM"
    }
  }
}
