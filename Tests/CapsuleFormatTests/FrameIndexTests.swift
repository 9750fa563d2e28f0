import CapsuleFormat
import Testing

@Suite struct FrameIndexTests {
  let index: FrameIndex

  init() throws {
    func digest(_ byte: UInt8) throws -> Digest {
      try #require(Digest(bytes: [UInt8](repeating: byte, count: 32)))
    }
    index = FrameIndex(frames: [
      Frame(
        offset: 0, compressedLength: 0x0102, uncompressedLength: 0x400000, compressedDigest: try digest(0xAA),
        uncompressedDigest: try digest(0xBB)),
      Frame(
        offset: 0x0102, compressedLength: 7, uncompressedLength: 5, compressedDigest: try digest(1),
        uncompressedDigest: try digest(2)),
    ])
  }

  @Test func `an index reads back as it was written`() throws {
    #expect(try FrameIndex(decoding: index.encoded()) == index)
    #expect(try FrameIndex(decoding: FrameIndex(frames: []).encoded()) == FrameIndex(frames: []))
  }

  @Test func `the bytes are those of the specification`() {
    let bytes = index.encoded()
    #expect(bytes.count == 32 + 2 * 80)
    #expect(Array(bytes[0..<8]) == Array("PSDFRIDX".utf8))
    #expect(Array(bytes[8..<16]) == [1, 0, 0, 0, 2, 0, 0, 0])
    #expect(Array(bytes[16..<32]) == [9, 1, 0, 0, 0, 0, 0, 0, 5, 0, 0x40, 0, 0, 0, 0, 0])
    #expect(Array(bytes[32..<48]) == [0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0x40, 0])
    #expect(bytes[48] == 0xAA && bytes[80] == 0xBB)
  }

  @Test func `an index cut short or with bytes behind it is refused`() {
    let bytes = index.encoded()
    for count in 0..<bytes.count {
      #expect(throws: FrameIndexError.self) { try FrameIndex(decoding: Array(bytes[..<count])) }
    }
    #expect(throws: FrameIndexError.wrongLength(expected: 192, found: 193)) { try FrameIndex(decoding: bytes + [0]) }
  }

  @Test func `another version, magic or an absurd count is refused`() {
    var bytes = index.encoded()
    bytes[8] = 2
    #expect(throws: FrameIndexError.unknownVersion(2)) { try FrameIndex(decoding: bytes) }
    bytes = index.encoded()
    bytes[0] = 0
    #expect(throws: FrameIndexError.notAnIndex) { try FrameIndex(decoding: bytes) }
    bytes = index.encoded()
    bytes.replaceSubrange(12..<16, with: [0xFF, 0xFF, 0xFF, 0xFF])
    #expect(throws: FrameIndexError.tooManyFrames(.max)) { try FrameIndex(decoding: bytes) }
  }

  @Test func `frames with gaps, without content, too large or with false totals are refused`() {
    func refused(_ change: (inout FrameIndex) -> Void) -> FrameIndexError? {
      var changed = index
      change(&changed)
      do throws(FrameIndexError) { _ = try FrameIndex(decoding: changed.encoded()) } catch { return error }
      return nil
    }
    #expect(refused { $0.frames[1].offset += 1 } == .badFrame(1))
    #expect(refused { $0.frames[0].offset = 1 } == .badFrame(0))
    #expect(refused { $0.frames[1].compressedLength = 0 } == .badFrame(1))
    #expect(refused { $0.frames[1].uncompressedLength = 0 } == .badFrame(1))
    #expect(refused { $0.frames[1].uncompressedLength = UInt32(FrameIndex.frameLimit) + 1 } == .badFrame(1))
    #expect(refused { $0.frames[1].compressedLength = .max } == .badFrame(1))
    #expect(refused { $0.frames[1].uncompressedLength = UInt32(FrameIndex.frameLimit) } == nil)
    var bytes = index.encoded()
    bytes[24] ^= 1
    #expect(throws: FrameIndexError.wrongTotals) { try FrameIndex(decoding: bytes) }
  }
}
