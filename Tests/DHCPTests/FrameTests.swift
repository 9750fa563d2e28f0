import DHCPWire
import NetworkTypes
import Testing

struct FrameTests {
  static let headers = UDPFrame(
    sourceCard: card(1), destinationCard: .broadcast, source: .any, destination: .broadcast, sourcePort: 68,
    destinationPort: 67)

  static func frame(_ payload: [UInt8]) -> [UInt8] {
    var frame = [UInt8](repeating: 0, count: UDPFrame.headerLength) + payload
    headers.writeHeaders(into: &frame)
    return frame
  }

  @Test("a frame is written byte for byte as a card would send it")
  func bytes() {
    let expected = hex(
      """
      ffffffffffff 525400000001 0800  # Ethernet
      4500 0020 0000 0000 40 11       # version and length, 32 bytes, id, fragment, TTL 64, UDP
      7ace 00000000 ffffffff          # checksum, 0.0.0.0, 255.255.255.255
      0044 0043 000c fb49             # ports 68 and 67, 12 bytes, checksum
      01020304
      """)
    #expect(Self.frame([1, 2, 3, 4]) == expected)
  }

  @Test("what is written is read, with payloads of odd and even length", arguments: [0, 1, 2, 299, 300])
  func roundTrip(_ count: Int) throws {
    let payload = (0..<count).map { UInt8(truncatingIfNeeded: $0 * 7) }
    // Short frames are padded by the card.
    let frame = padded(Self.frame(payload), to: 60)
    let (headers, range) = try UDPFrame.parse(frame.span)
    #expect(headers == Self.headers)
    #expect(Array(frame[range]) == payload)
  }

  @Test("a checksum left to hardware, or none at all, is taken; a wrong one is not")
  func offloadedChecksum() throws {
    var frame = Self.frame([1, 2, 3, 4])
    // Linux leaves the sum of the pseudo header: ffff + ffff + 17 + 12, folded.
    frame.replaceSubrange(40..<42, with: hex("001d"))
    _ = try UDPFrame.parse(frame.span)
    frame.replaceSubrange(40..<42, with: hex("0000"))
    _ = try UDPFrame.parse(frame.span)
    frame.replaceSubrange(40..<42, with: hex("001e"))
    #expect(throws: FrameError.datagramChecksum) { try UDPFrame.parse(frame.span) }
  }

  @Test("a frame with a priority tag is read as if it had none; one of another VLAN is not ours")
  func tags() throws {
    let plain = Self.frame([1, 2, 3, 4])
    func tagged(_ tag: [UInt8]) -> [UInt8] { Array(plain[..<12]) + [0x81, 0] + tag + plain[12...] }
    let (headers, payload) = try UDPFrame.parse(tagged([0xE0, 0]).span)
    #expect(headers == Self.headers)
    #expect(payload == 46..<50)
    #expect(throws: FrameError.otherVLAN) { try UDPFrame.parse(tagged([0, 5]).span) }
    #expect(throws: FrameError.tooShort(bytes: 45)) { try UDPFrame.parse(tagged([0, 0]).span.extracting(..<45)) }
    var inner = tagged([0, 0])
    inner[17] = 6
    #expect(throws: FrameError.notIPv4) { try UDPFrame.parse(inner.span) }
  }

  @Test("every damaged frame is an error of its own")
  func damaged() {
    func changed(_ index: Int, _ value: UInt8, repair: Bool = true) -> [UInt8] {
      var frame = padded(Self.frame([1, 2, 3, 4]), to: 60)
      frame[index] = value
      if repair {
        frame[24] = 0
        frame[25] = 0
        var sum = InternetChecksum()
        sum.add(frame.span.extracting(14..<34))
        let check = ~sum.folded
        frame[24] = UInt8(check >> 8)
        frame[25] = UInt8(check & 0xFF)
      }
      return frame
    }
    let cases: [([UInt8], FrameError)] = [
      ([UInt8](repeating: 0, count: 41), .tooShort(bytes: 41)),
      (changed(13, 6), .notIPv4),
      (changed(14, 0x65), .notIPv4),
      (changed(14, 0x44), .headerLength),
      (changed(14, 0x4F), .headerLength),
      (changed(16, 9), .datagramLength),
      (changed(17, 20), .datagramLength),
      (changed(20, 0x20), .fragment),
      (changed(21, 1), .fragment),
      (changed(22, 63, repair: false), .headerChecksum),
      (changed(23, 6), .notUDP),
      (changed(38, 9), .datagramLength),
      (changed(39, 7), .datagramLength),
      (changed(43, 9), .datagramChecksum),
    ]
    for (frame, error) in cases {
      #expect(throws: error) { try UDPFrame.parse(frame.span) }
    }
  }
}
