package import NetworkTypes

/// Which packets of a segment are a node's boot, and how much of each is kept.
package enum TraceFilter {
  /// In libpcap's language: what its cards say and hear of a boot, DHCP that names them whoever passes it on,
  /// and what goes to and from its addresses, which behind a router are all that is left of it.
  package static func text(macs: [MACAddress], addresses: [IPv4Address], port: Int) -> String {
    let kinds = "(arp or icmp or icmp6 or udp or tcp port \(port))"
    let cards = macs.map { "(ether host \($0) and \(kinds))" }
    // chaddr, at 28 of the message and 36 of the datagram.
    let messages = macs.map { mac in
      let upper = String(mac.rawValue >> 16, radix: 16)
      let lower = String(mac.rawValue & 0xFFFF, radix: 16)
      return "((udp port 67 or udp port 68) and udp[36:4] = 0x\(upper) and udp[40:2] = 0x\(lower))"
    }
    let hosts = addresses.map { "(host \($0) and \(kinds))" }
    return (cards + messages + hosts).joined(separator: " or ")
  }

  /// Bytes kept of a frame: all of what is short or says what is wanted; the beginning of contents.
  package static func kept(of frame: [UInt8]) -> Int {
    let isContent = frame.count > contentLimit && !isMessage(frame)
    return isContent ? contentLimit : frame.count
  }

  /// Headers of Ethernet, IP and TCP, and the head of most HTTP responses.
  package static let contentLimit = 384

  /// DHCP, and requests to TFTP.
  private static func isMessage(_ frame: [UInt8]) -> Bool {
    // IPv4 in Ethernet, UDP.
    guard frame.count >= 42, frame[12] == 8, frame[13] == 0, frame[23] == 17 else { return false }
    let udp = 14 + Int(frame[14] & 0xF) * 4
    guard udp + 4 <= frame.count else { return false }
    let ports = [0, 2].map { UInt16(frame[udp + $0]) << 8 | UInt16(frame[udp + $0 + 1]) }
    return ports.contains { [67, 68, 69, 4011].contains($0) }
  }
}
