package import NetworkTypes

/// A UDP datagram over IPv4 in an Ethernet frame: the headers, made and read without a socket.
package struct UDPFrame: Hashable, Sendable {
  package var sourceCard: MACAddress
  package var destinationCard: MACAddress
  package var source: IPv4Address
  package var destination: IPv4Address
  package var sourcePort: UInt16
  package var destinationPort: UInt16

  package init(
    sourceCard: MACAddress, destinationCard: MACAddress, source: IPv4Address, destination: IPv4Address,
    sourcePort: UInt16, destinationPort: UInt16
  ) {
    self.sourceCard = sourceCard
    self.destinationCard = destinationCard
    self.source = source
    self.destination = destination
    self.sourcePort = sourcePort
    self.destinationPort = destinationPort
  }

  /// Bytes in front of the payload in a frame made here: 14 Ethernet, 20 IPv4, 8 UDP.
  package static let headerLength = 42
}

/// Why a frame is not a whole UDP datagram over IPv4.
package enum FrameError: Error, Hashable, Sendable {
  case tooShort(bytes: Int)
  case notIPv4
  /// Tagged for a VLAN: it belongs to an interface of that VLAN.
  case otherVLAN
  case headerLength
  case headerChecksum
  /// A piece of a datagram; DHCP clients do not fragment.
  case fragment
  case notUDP
  /// The lengths of IP and UDP headers disagree, or reach beyond the frame.
  case datagramLength
  case datagramChecksum

  /// A short word, for counters.
  package var kind: String {
    switch self {
    case .tooShort: "frame-too-short"
    case .notIPv4: "frame-not-ipv4"
    case .otherVLAN: "frame-other-vlan"
    case .headerLength: "ip-header-length"
    case .headerChecksum: "ip-checksum"
    case .fragment: "ip-fragment"
    case .notUDP: "ip-not-udp"
    case .datagramLength: "udp-length"
    case .datagramChecksum: "udp-checksum"
    }
  }
}

extension UDPFrame {
  /// Reads a frame.
  ///
  /// The UDP checksum may be missing in a frame that a virtual card or the same machine sent, since
  /// the sender left it to hardware that was never passed: then the field holds the sum of the
  /// pseudo header alone (what Linux leaves there for the card to go on from), or zero. Both are
  /// taken; any other wrong sum is an error.
  /// - Returns: The headers, and where in `frame` the payload lies.
  package static func parse(_ frame: Span<UInt8>) throws(FrameError) -> (headers: UDPFrame, payload: Range<Int>) {
    guard frame.count >= headerLength else { throw .tooShort(bytes: frame.count) }
    let ip = try internetHeader(frame)
    guard frame[ip] >> 4 == 4 else { throw .notIPv4 }
    let headerBytes = Int(frame[ip] & 0xF) * 4
    guard headerBytes >= 20, ip + headerBytes + 8 <= frame.count else { throw .headerLength }
    let total = Int(frame.bigEndian16(at: ip + 2))
    guard total >= headerBytes + 8, ip + total <= frame.count else { throw .datagramLength }
    guard frame[ip + 9] == 17 else { throw .notUDP }
    // The flag "more fragments" and the offset: both zero in a whole datagram.
    guard frame.bigEndian16(at: ip + 6) & 0x3FFF == 0 else { throw .fragment }
    var header = InternetChecksum()
    header.add(frame.extracting(ip..<ip + headerBytes))
    guard header.folded == 0xFFFF else { throw .headerChecksum }

    let udp = ip + headerBytes
    let length = Int(frame.bigEndian16(at: udp + 4))
    guard length >= 8, headerBytes + length <= total else { throw .datagramLength }
    let source = IPv4Address(rawValue: frame.bigEndian32(at: ip + 12))
    let destination = IPv4Address(rawValue: frame.bigEndian32(at: ip + 16))
    let sent = frame.bigEndian16(at: udp + 6)
    if sent != 0 {
      var sum = InternetChecksum()
      sum.addPseudoHeader(source: source, destination: destination, length: UInt16(length))
      let pseudo = sum.folded
      sum.add(frame.extracting(udp..<udp + length))
      guard sum.folded == 0xFFFF || sent == pseudo else { throw .datagramChecksum }
    }
    return (
      UDPFrame(
        sourceCard: frame.card(at: 6), destinationCard: frame.card(at: 0), source: source, destination: destination,
        sourcePort: frame.bigEndian16(at: udp), destinationPort: frame.bigEndian16(at: udp + 2)),
      udp + 8..<udp + length
    )
  }

  /// Where the IPv4 header begins. A tag of IEEE 802.1Q with the identifier 0 names a priority and no
  /// VLAN (some cards send nothing without one); with another the frame is another network's.
  private static func internetHeader(_ frame: Span<UInt8>) throws(FrameError) -> Int {
    guard frame.bigEndian16(at: 12) == 0x8100 else {
      guard frame.bigEndian16(at: 12) == 0x0800 else { throw .notIPv4 }
      return 14
    }
    guard frame.bigEndian16(at: 14) & 0xFFF == 0 else { throw .otherVLAN }
    guard frame.count >= headerLength + 4 else { throw .tooShort(bytes: frame.count) }
    guard frame.bigEndian16(at: 16) == 0x0800 else { throw .notIPv4 }
    return 18
  }

  /// Writes the headers over the first ``headerLength`` bytes of a frame, with checksums over what follows them.
  /// - Parameters:
  ///   - frame: Room for the headers, then the payload, 65,507 bytes of it at most.
  ///   - start: Where in `frame` it begins; it reaches to the end.
  ///   - identification: Of the IPv4 header.
  package func writeHeaders(into frame: inout [UInt8], at start: Int = 0, identification: UInt16 = 0) {
    precondition(
      start >= 0 && frame.count - start >= Self.headerLength && frame.count - start <= Self.headerLength + 65_507,
      "no room for headers, or more than a datagram holds")
    let total = UInt16(frame.count - start - 14)
    let length = UInt16(frame.count - start - 34)
    // Two numbers at once where they stand side by side.
    frame.put(destinationCard.rawValue << 16 | sourceCard.rawValue >> 32, at: start)
    frame.put(UInt32(truncatingIfNeeded: sourceCard.rawValue), at: start + 8)
    frame.put(UInt32(0x0800_4500), at: start + 12)
    frame.put(UInt32(total) << 16 | UInt32(identification), at: start + 16)
    frame.put(UInt64(64 << 8 | 17) << 32, at: start + 20)
    frame.put(UInt64(source.rawValue) << 32 | UInt64(destination.rawValue), at: start + 26)
    frame.put(UInt32(sourcePort) << 16 | UInt32(destinationPort), at: start + 34)
    frame.put(UInt32(length) << 16, at: start + 38)
    var header = InternetChecksum()
    header.add(frame.span.extracting(start + 14..<start + 34))
    var datagram = InternetChecksum()
    datagram.addPseudoHeader(source: source, destination: destination, length: length)
    datagram.add(frame.span.extracting(start + 34..<frame.count))
    frame.put(~header.folded, at: start + 24)
    // RFC 768: "If the computed checksum is zero, it is transmitted as all ones".
    frame.put(datagram.folded == 0xFFFF ? 0xFFFF : ~datagram.folded, at: start + 40)
  }
}

/// The one's complement sum of RFC 1071.
package struct InternetChecksum: Sendable {
  private var sum: UInt64 = 0

  package init() {}

  /// Adds bytes from an even place on; an odd last byte counts as the upper half of a word.
  package mutating func add(_ bytes: Span<UInt8>) {
    bytes.withUnsafeBytes { bytes in
      var index = 0
      // Two words at once: RFC 1071, section 2, (C): the upper half is folded onto the lower in the end.
      while index + 4 <= bytes.count {
        sum += UInt64(UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: index, as: UInt32.self)))
        index += 4
      }
      while index + 1 < bytes.count {
        sum += UInt64(bytes[index]) << 8 | UInt64(bytes[index + 1])
        index += 2
      }
      if index < bytes.count { sum += UInt64(bytes[index]) << 8 }
    }
  }

  package mutating func addPseudoHeader(source: IPv4Address, destination: IPv4Address, length: UInt16) {
    sum += UInt64(source.rawValue >> 16) + UInt64(source.rawValue & 0xFFFF)
    sum += UInt64(destination.rawValue >> 16) + UInt64(destination.rawValue & 0xFFFF)
    sum += 17 + UInt64(length)
  }

  /// The sum in 16 bits, not complemented: 0xFFFF over data that holds its own right checksum.
  package var folded: UInt16 {
    var value = sum
    while value > 0xFFFF { value = value >> 16 + value & 0xFFFF }
    return UInt16(value)
  }
}

extension Span<UInt8> {
  fileprivate func card(at index: Int) -> MACAddress {
    MACAddress(rawValue: UInt64(bigEndian16(at: index)) << 32 | UInt64(bigEndian32(at: index + 2)))
  }
}
