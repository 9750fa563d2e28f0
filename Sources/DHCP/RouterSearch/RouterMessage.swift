package import NetworkTypes

/// An IPv6 address: 16 bytes in two halves.
package struct IPv6Address: Hashable, Sendable {
  package var upper: UInt64
  package var lower: UInt64

  package init(upper: UInt64, lower: UInt64) {
    self.upper = upper
    self.lower = lower
  }

  /// `::`, which a card without any address sends from.
  package static let any = IPv6Address(upper: 0, lower: 0)
  /// `ff02::1`, every node on the segment (RFC 4291, section 2.7.1).
  package static let allNodes = IPv6Address(upper: 0xFF02 << 48, lower: 1)
  /// `ff02::2`, every router on the segment.
  package static let allRouters = IPv6Address(upper: 0xFF02 << 48, lower: 2)

  /// The link-local address of a card that has chosen no other: `fe80::/64` and its modified EUI-64
  /// (RFC 4291, appendix A).
  package static func linkLocal(of card: MACAddress) -> IPv6Address {
    let identifier = (card.rawValue >> 24) << 40 | 0xFFFE << 24 | card.rawValue & 0xFF_FFFF
    return IPv6Address(upper: 0xFE80 << 48, lower: identifier ^ 0x0200_0000_0000_0000)
  }

  /// Within `fe80::/10`.
  package var isLinkLocal: Bool { upper >> 54 == 0xFE80 >> 6 }
}

/// A message of IPv6 router discovery (RFC 4861, sections 4.1 and 4.2), as far as it matters here.
package enum RouterMessage: Hashable, Sendable {
  /// A node looks for a router.
  case solicitation(card: MACAddress, source: IPv6Address)
  /// A router says what it offers.
  /// - `offersAnything`: It is a default router, or sends nodes on to DHCPv6, or names prefixes.
  case advertisement(card: MACAddress, offersAnything: Bool)

  /// Reads a frame.
  /// - Returns: `nil` for anything but a router solicitation or advertisement that RFC 4861, sections
  ///   6.1.1 and 6.1.2 call valid.
  package init?(_ frame: Span<UInt8>) {
    guard frame.count >= Self.message + 8, frame.unsigned(bytes: 2, at: 12) == 0x86DD,
      frame[14] >> 4 == 6,
      frame[20] == 58, frame[21] == 255
    else { return nil }
    let length = Int(frame.unsigned(bytes: 2, at: 18))
    guard length >= 8, Self.message + length <= frame.count else { return nil }
    let bytes = frame.extracting(Self.message..<Self.message + length)
    let source = IPv6Address(upper: frame.unsigned(bytes: 8, at: 22), lower: frame.unsigned(bytes: 8, at: 30))
    let destination = IPv6Address(upper: frame.unsigned(bytes: 8, at: 38), lower: frame.unsigned(bytes: 8, at: 46))
    guard Self.checksum(of: bytes, from: source, to: destination) == 0, bytes[1] == 0 else { return nil }
    let card = MACAddress(rawValue: frame.unsigned(bytes: 6, at: 6))
    guard card.isUnicast else { return nil }
    switch bytes[0] {
    case Self.solicitationType:
      guard let options = Self.options(bytes, from: 8) else { return nil }
      // "If the IP source address is the unspecified address, there is no source link-layer address option".
      guard source != .any || !options.contains(Self.sourceLinkLayerAddress) else { return nil }
      self = .solicitation(card: card, source: source)
    case Self.advertisementType:
      guard source.isLinkLocal, let options = Self.options(bytes, from: 16) else { return nil }
      let isDefaultRouter = bytes.unsigned(bytes: 2, at: 6) != 0
      let namesDHCP = bytes[5] & 0xC0 != 0
      self = .advertisement(
        card: card, offersAnything: isDefaultRouter || namesDHCP || options.contains(Self.prefixInformation))
    default:
      return nil
    }
  }

  /// The frame of an advertisement that offers nothing: no default router (lifetime 0), no DHCPv6 (no
  /// flags), no prefix; times of 0 leave what the node knows as it is (RFC 4861, section 4.2).
  /// - Parameters:
  ///   - card: Ours, and `source` our link-local address.
  ///   - solicitor: The card that asked, from `asker`; where that is `::` every node is told.
  package static func emptyAdvertisement(
    from card: MACAddress, _ source: IPv6Address, to solicitor: MACAddress, _ asker: IPv6Address
  ) -> [UInt8] {
    let destination = asker == .any ? IPv6Address.allNodes : asker
    // RFC 2464, section 7: 33:33 and the last four bytes of a group's address.
    let group = MACAddress(rawValue: 0x3333_0000_0000 | IPv6Address.allNodes.lower & 0xFFFF_FFFF)
    var bytes: [UInt8] = []
    bytes.reserveCapacity(message + 24)
    bytes.append(unsigned: (asker == .any ? group : solicitor).rawValue, bytes: 6)
    bytes.append(unsigned: card.rawValue, bytes: 6)
    bytes.append(unsigned: 0x86DD, bytes: 2)
    bytes.append(unsigned: 6 << 28, bytes: 4)
    bytes.append(unsigned: 24, bytes: 2)
    bytes.append(contentsOf: [58, 255])
    for half in [source.upper, source.lower, destination.upper, destination.lower] {
      bytes.append(unsigned: half, bytes: 8)
    }
    // Type, code, checksum; hop limit 0 ("unspecified by this router"), flags, router lifetime 0.
    bytes.append(contentsOf: [advertisementType, 0, 0, 0, 0, 0, 0, 0])
    // Reachable time and retransmission timer, unspecified.
    bytes.append(unsigned: 0, bytes: 8)
    bytes.append(contentsOf: [sourceLinkLayerAddress, 1])
    bytes.append(unsigned: card.rawValue, bytes: 6)
    let check = checksum(of: bytes.span.extracting(message..<bytes.count), from: source, to: destination)
    bytes[message + 2] = UInt8(check >> 8)
    bytes[message + 3] = UInt8(check & 0xFF)
    return bytes
  }

  /// What libpcap lets through.
  static let captureFilter = "icmp6 and (ip6[40] == \(solicitationType) or ip6[40] == \(advertisementType))"

  /// Where the ICMPv6 message begins: 14 bytes Ethernet, 40 IPv6.
  private static let message = 54
  private static let solicitationType: UInt8 = 133
  private static let advertisementType: UInt8 = 134
  private static let sourceLinkLayerAddress: UInt8 = 1
  private static let prefixInformation: UInt8 = 3

  /// The types of the options; `nil` where one has no length or reaches beyond the end.
  private static func options(_ bytes: Span<UInt8>, from start: Int) -> [UInt8]? {
    guard bytes.count >= start else { return nil }
    var types: [UInt8] = []
    var index = start
    while index < bytes.count {
      guard index + 1 < bytes.count else { return nil }
      let count = Int(bytes[index + 1]) * 8
      guard count > 0, count <= bytes.count - index else { return nil }
      types.append(bytes[index])
      index += count
    }
    return types
  }

  /// The checksum to write over a message whose checksum is 0, or 0 over one whose checksum is right
  /// (RFC 4443, section 2.3: over the message and a pseudo header of addresses, length and 58).
  private static func checksum(of bytes: Span<UInt8>, from source: IPv6Address, to destination: IPv6Address) -> UInt16 {
    var sum = UInt64(bytes.count) + 58
    for half in [source.upper, source.lower, destination.upper, destination.lower] {
      for shift in stride(from: UInt64(0), to: 64, by: 16) { sum += half >> shift & 0xFFFF }
    }
    var index = 0
    while index < bytes.count {
      sum += UInt64(bytes[index]) << (index % 2 == 0 ? 8 : 0)
      index += 1
    }
    while sum > 0xFFFF { sum = sum >> 16 + sum & 0xFFFF }
    return ~UInt16(sum)
  }
}

extension Span<UInt8> {
  fileprivate func unsigned(bytes count: Int, at index: Int) -> UInt64 {
    var value: UInt64 = 0
    for place in index..<index + count { value = value << 8 | UInt64(self[place]) }
    return value
  }
}

extension [UInt8] {
  fileprivate mutating func append(unsigned value: UInt64, bytes count: Int) {
    for place in 0..<count { append(UInt8(truncatingIfNeeded: value >> UInt64(8 * (count - 1 - place)))) }
  }
}
