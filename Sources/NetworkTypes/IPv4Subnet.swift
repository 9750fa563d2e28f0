/// An IPv4 network: its lowest address and the length of its prefix, written 10.0.0.0/16.
package struct IPv4Subnet: Hashable, Sendable {
  /// The lowest address: all host bits zero.
  package let network: IPv4Address
  /// Bits of the prefix, 0 to 32.
  package let prefixLength: Int

  /// The network that `address` is in.
  /// - Parameter prefixLength: 0 to 32; `nil` is returned for anything else.
  package init?(containing address: IPv4Address, prefixLength: Int) {
    guard (0...32).contains(prefixLength) else { return nil }
    self.prefixLength = prefixLength
    network = IPv4Address(rawValue: address.rawValue & Self.mask(prefixLength))
  }

  /// The network mask, 255.255.0.0 for /16.
  package var netmask: IPv4Address { IPv4Address(rawValue: Self.mask(prefixLength)) }

  /// The highest address, which reaches every host of the network.
  package var broadcast: IPv4Address { IPv4Address(rawValue: network.rawValue | ~Self.mask(prefixLength)) }

  package func contains(_ address: IPv4Address) -> Bool {
    address.rawValue & Self.mask(prefixLength) == network.rawValue
  }

  /// Whether `address` may be given to a host here: in the network, and neither its lowest nor its
  /// broadcast address (networks of /31 and /32 have no such addresses, RFC 3021).
  package func isHost(_ address: IPv4Address) -> Bool {
    contains(address) && (prefixLength >= 31 || (address != network && address != broadcast))
  }

  private static func mask(_ prefixLength: Int) -> UInt32 {
    prefixLength == 0 ? 0 : UInt32.max << UInt32(32 - prefixLength)
  }
}

extension IPv4Subnet: LosslessStringConvertible {
  /// `10.0.0.0/16`; host bits may be set and are dropped.
  package init?(_ description: String) {
    let parts = description.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 2, let address = IPv4Address(String(parts[0])), let length = Int(parts[1]),
      parts[1].utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
    else { return nil }
    self.init(containing: address, prefixLength: length)
  }

  package var description: String { "\(network)/\(prefixLength)" }
}

extension IPv4Subnet: Codable {
  package init(from decoder: any Decoder) throws {
    self = try decodeText(from: decoder, expected: "a network such as 10.0.0.0/16")
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}
