package import NetworkTypes

/// Address resolution over Ethernet (RFC 826), as far as conflicts need it (RFC 5227).
package struct ARPFrame: Hashable, Sendable {
  package var card: MACAddress
  package var address: IPv4Address

  /// What the kernel is to hand over: whatever says who has which address.
  static let captureFilter = "arp and arp[14:4] != 0"

  /// Who says that it has which address: the sender of a request, an answer or an announcement.
  /// - Returns: `nil` for what is no ARP frame, or has no sender (somebody probes).
  package init?(_ frame: Span<UInt8>) {
    guard frame.count >= 42 else { return nil }
    func number(_ range: Range<Int>) -> UInt64 { range.reduce(0) { $0 << 8 | UInt64(frame[$1]) } }
    // Ethernet type; hardware Ethernet and protocol IPv4, with addresses of 6 and 4 bytes.
    guard number(12..<14) == 0x0806, number(14..<20) == 0x0001_0800_0604 else { return nil }
    let card = MACAddress(rawValue: number(22..<28))
    let address = IPv4Address(rawValue: UInt32(number(28..<32)))
    guard card.isUnicast, address != .any else { return nil }
    self.card = card
    self.address = address
  }

  /// RFC 5227, section 2.1.1: "a host probes to see if an address is already in use by broadcasting an ARP
  /// Request for the desired address"; the sender's address is zero, so that nobody's table is spoilt.
  /// - Parameter card: Ours.
  package static func probe(for address: IPv4Address, from card: MACAddress) -> [UInt8] {
    func bytes(_ card: MACAddress) -> [UInt8] {
      (0..<6).map { UInt8(truncatingIfNeeded: card.rawValue >> (40 - 8 * $0)) }
    }
    let target = (0..<4).map { UInt8(truncatingIfNeeded: address.rawValue >> (24 - 8 * $0)) }
    let header = bytes(.broadcast) + bytes(card) + [0x08, 0x06]
    let request: [UInt8] = [0x00, 0x01, 0x08, 0x00, 6, 4, 0x00, 0x01]
    let body = request + bytes(card) + [0, 0, 0, 0] + [0, 0, 0, 0, 0, 0] + target
    // The shortest frame of Ethernet has 60 bytes.
    return header + body + [UInt8](repeating: 0, count: 18)
  }
}
