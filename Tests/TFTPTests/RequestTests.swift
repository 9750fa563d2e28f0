import Testing

@testable import TFTP

/// RFC 1350 section 5 and RFC 2347: requests as they come, and as they should not.
struct RequestTests {
  private func text(_ string: String) -> [UInt8] { Array(string.utf8) }

  private func request(_ string: String) throws(Request.Malformation) -> Request {
    try Request(parsing: [0, 1] + Array(string.utf8))
  }

  @Test func aReadRequestHasANameAndAMode() throws {
    let parsed = try request("undionly.kpxe\0octet\0")
    #expect(parsed == Request(operation: .read, name: text("undionly.kpxe"), mode: .octet))
  }

  @Test func aWriteRequestIsTold() throws {
    #expect(try Request(parsing: [0, 2] + text("a\0netascii\0")).operation == .write)
  }

  @Test(arguments: ["octet", "OCTET", "OcTeT"])
  func theModeMayBeInAnyCase(mode: String) throws {
    #expect(try request("a\0\(mode)\0").mode == .octet)
  }

  @Test func optionsKeepTheirOrderAndSpelling() throws {
    let parsed = try request("a\0octet\0TSize\00\0blksize\01468\0")
    #expect(
      parsed.options == [
        .init(name: text("TSize"), value: text("0")), .init(name: text("blksize"), value: text("1468")),
      ])
  }

  @Test(arguments: ["a\0octet", "a\0octet\0blksize\01468", "a\0octet\0blksize\0", "a\0octet\0blksize", "a"])
  func aTextWithoutItsNULIsRefused(packet: String) {
    // "1468" cut short is "146": to guess would serve blocks of the wrong size.
    #expect(throws: Request.Malformation.unterminated) { try request(packet) }
  }

  @Test func aPacketFilledUpWithNULsIsAsGoodAsWithout() throws {
    #expect(try request("a\0octet\0tsize\00\0\0\0\0\0\0") == request("a\0octet\0tsize\00\0"))
  }

  @Test func unknownModesAndEmptyNamesAreRefused() {
    #expect(throws: Request.Malformation.unknownMode) { try request("a\0mail\0") }
    #expect(throws: Request.Malformation.unknownMode) { try request("a\0\0") }
    #expect(throws: Request.Malformation.noName) { try request("\0octet\0") }
  }

  @Test func aRequestLongerThan512BytesIsNotRead() {
    let long = String(repeating: "x", count: 600)
    #expect(throws: Request.Malformation.tooLong(609)) { try request("\(long)\0octet\0") }
    #expect(throws: Request.Malformation.notARequest) { try Request(parsing: [0]) }
    #expect(throws: Request.Malformation.notARequest) { try Request(parsing: [0, 3, 0, 1]) }
  }

  @Test func anEndlessListOfOptionsIsCut() throws {
    let options = (0..<100).map { "\($0 % 10)\0\0" }.joined()
    #expect(try request("a\0octet\0\(options)").options.count == 32)
  }

  @Test func whatIsWrittenIsReadBackTheSame() throws {
    let request = Request(
      operation: .read, name: [0xFF, 0x41], mode: .netascii,
      options: [.init(name: text("blksize"), value: text("8"))])
    #expect(try Request(parsing: request.bytes) == request)
  }

  @Test func randomBytesAreReadOrRefusedButNeverTrap() {
    var random = SeededGenerator(seed: 1)
    for _ in 0..<20_000 {
      let alphabet: [UInt8] = [0, 0, 0, 1, 2, 5, 6, 0x61, 0x31, 0xFF]
      let bytes = (0..<Int.random(in: 0..<40, using: &random)).map { _ in
        alphabet[Int.random(in: 0..<alphabet.count, using: &random)]
      }
      if let request = try? Request(parsing: [0, 1] + bytes) {
        #expect(!request.name.isEmpty)
        _ = Negotiation(request.options, limits: .init(mtu: 1500), size: 10)
        _ = RequestedName(request.name)
      }
      if let packet = Packet(parsing: bytes) { _ = packet.bytes }
    }
  }
}

/// Random numbers that are the same in every run.
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) {
    state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
  }

  /// SplitMix64.
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}
