package import NetworkTypes

/// Where a reply goes (RFC 2131, section 4.1).
package enum ReplyDestination: Hashable, Sendable {
  /// To the relay agent, at the server's port, 67.
  case relay(IPv4Address)
  /// To an address the client has and answers ARP for, at the client's port, 68.
  case address(IPv4Address)
  /// To an address the client is about to get: in a frame made for its card, since it cannot answer ARP yet.
  case card(MACAddress, IPv4Address)
  /// To everyone on the client's own segment.
  case broadcast

  /// - Parameters:
  ///   - request: What is answered.
  ///   - type: The reply: a NAK goes another way. `nil` for a BOOTP reply.
  ///   - address: `yiaddr` of the reply.
  package init(replyTo request: DHCPMessage, type: DHCPMessageType?, address: IPv4Address) {
    if request.relay != .any {
      // "If the 'giaddr' field in a DHCP message from a client is non-zero, the server sends any
      // return messages to the 'DHCP server' port on the BOOTP relay agent whose address appears in
      // 'giaddr'."
      self = .relay(request.relay)
    } else if type == .refuse {
      // "In all cases, when 'giaddr' is zero, the server broadcasts any DHCPNAK messages to 0xffffffff."
      self = .broadcast
    } else if request.clientAddress != .any {
      // "If the 'giaddr' field is zero and the 'ciaddr' field is nonzero, then the server unicasts
      // DHCPOFFER and DHCPACK messages to the address in 'ciaddr'."
      self = .address(request.clientAddress)
    } else if request.wantsBroadcast {
      // "If 'giaddr' is zero and 'ciaddr' is zero, and the broadcast bit is set, then the server
      // broadcasts DHCPOFFER and DHCPACK messages to 0xffffffff."
      self = .broadcast
    } else if let card = request.hardware.ethernet, address != .any {
      // "If the broadcast bit is not set and 'giaddr' is zero and 'ciaddr' is zero, then the server
      // unicasts DHCPOFFER and DHCPACK messages to the client's hardware address and 'yiaddr' address."
      self = .card(card, address)
    } else {
      // No card to name (InfiniBand): everyone, as the client could have asked for.
      self = .broadcast
    }
  }
}

/// UDP ports of DHCP (RFC 2131, section 4.1).
package enum DHCPPort {
  package static let server: UInt16 = 67
  package static let client: UInt16 = 68
  /// Where PXE firmware asks for its boot file once it has an address (RFC 4578, section 2; PXE specification 2.1).
  package static let bootServer: UInt16 = 4011
}
