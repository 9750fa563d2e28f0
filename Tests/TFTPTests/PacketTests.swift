import Testing

@testable import TFTP

/// DATA, ACK, ERROR and OACK, byte for byte.
struct PacketTests {
  @Test func packetsAreWrittenAsTheRFCDrawsThem() {
    #expect(Packet.data(block: 0x0102, payload: [9, 8]).bytes == [0, 3, 1, 2, 9, 8])
    #expect(Packet.acknowledgement(block: 0xFFFE).bytes == [0, 4, 0xFF, 0xFE])
    #expect(Packet.error(.fileNotFound, text: "no").bytes == [0, 5, 0, 1, 0x6E, 0x6F, 0])
  }

  @Test func anOACKEndsWithTheNULOfItsLastValue() {
    // There are clients that reject whatever follows.
    let option = Request.Option(name: Array("tsize".utf8), value: Array("5".utf8))
    #expect(Packet.optionAcknowledgement([option]).bytes == [0, 6] + Array("tsize\05\0".utf8))
  }

  @Test func packetsAreReadBackAsTheyWereWritten() {
    let option = Request.Option(name: Array("blksize".utf8), value: Array("1468".utf8))
    let packets: [Packet] = [
      .data(block: 7, payload: [1, 2, 3]), .data(block: 8, payload: []), .acknowledgement(block: 0),
      .error(.optionsRefused, text: "no more"), .optionAcknowledgement([option, option]), .optionAcknowledgement([]),
    ]
    for packet in packets { #expect(Packet(parsing: packet.bytes) == packet) }
  }

  @Test func anErrorsTextIsCutAndCannotMoveACursor() {
    let bytes: [UInt8] = [0, 5, 0, 0] + Array("\u{1B}[2Jx".utf8) + [0xFF] + [UInt8](repeating: 0x41, count: 500)
    guard case .error(_, let text) = Packet(parsing: bytes) else {
      Issue.record("an ERROR without its NUL is an ERROR all the same")
      return
    }
    #expect(text.hasPrefix("?[2Jx?AAA"))
    #expect(text.utf8.count == 128)
  }

  @Test(
    arguments: [[], [0], [0, 4], [0, 4, 1], [1, 4, 0, 1], [0, 9, 0, 0], [0, 6, 0x61], [0, 6, 0x61, 0]] as [[UInt8]])
  func whatIsNoPacketIsNone(bytes: [UInt8]) {
    #expect(Packet(parsing: bytes) == nil)
  }
}

/// RFC 1350's netascii: RFC 764's end of line and carriage return.
struct NetasciiTests {
  @Test func linesEndWithCRLFAndACRAloneIsCRNUL() {
    #expect(Netascii.encode(Array("a\nb\rc".utf8)) == Array("a\r\nb\r\0c".utf8))
  }

  @Test func everyTextComesBackAsItWas() {
    let texts = ["", "\n", "\r", "\r\n", "\n\r\n\r\r\n\n", "plain", "a\0b"]
    for text in texts { #expect(Netascii.decode(Netascii.encode(Array(text.utf8))) == Array(text.utf8)) }
  }
}

/// Numbers of blocks over the end of 16 bits.
struct BlockNumberingTests {
  @Test func sixteenBitsRollOverToZeroOrToOne() {
    #expect([65534, 65535, 65536, 65537, 131_072].map(BlockNumbering.rollsOverToZero.wire) == [65534, 65535, 0, 1, 0])
    #expect(
      [65534, 65535, 65536, 131_070, 131_071].map(BlockNumbering.rollsOverToOne.wire) == [65534, 65535, 1, 65535, 1])
  }

  @Test(arguments: [BlockNumbering.rollsOverToZero, .rollsOverToOne])
  func aNumberMeansTheBlockThatIsUnderWay(numbering: BlockNumbering) {
    for base in [0, 1, 65_500, 65_534, 65_535, 65_536, 131_060, 5_000_000_000] as [Int64] {
      let range = base...(base + 64)
      for block in range { #expect(numbering.block(numbering.wire(block), in: range) == block) }
      let later = numbering.wire(base + 65)
      #expect(numbering.block(later, in: range) == nil, "block \(base + 65) was never sent")
    }
  }
}
