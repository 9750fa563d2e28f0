import CapsuleFormat
import Testing

@Suite struct TarHostileTests {
  /// One entry with raw fields, its checksum right.
  func block(
    name: String = "file", size: String = "00000000000", kind: Character = "0", link: String = "",
    change: (inout [UInt8]) -> Void = { _ in }
  ) -> [UInt8] {
    var block = [UInt8](repeating: 0, count: 512)
    func put(_ text: String, _ offset: Int) {
      for (index, byte) in text.utf8.enumerated() { block[offset + index] = byte }
    }
    put(name, 0)
    put("0000644", 100)
    put("0000000", 108)
    put("0000000", 116)
    put(size, 124)
    put("00000000000", 136)
    put(String(kind), 156)
    put(link, 157)
    put("ustar\u{0}00", 257)
    change(&block)
    put("        ", 148)
    let sum = String(block.reduce(0) { $0 + Int($1) }, radix: 8)
    put(String(repeating: "0", count: 6 - sum.count) + sum + "\u{0}", 148)
    return block
  }

  func pax(_ records: String, declaredSize: Int? = nil) -> [UInt8] {
    let size = String(declaredSize ?? records.utf8.count, radix: 8)
    var bytes = block(name: "pax", size: String(repeating: "0", count: 11 - size.count) + size, kind: "x")
    bytes += Array(records.utf8)
    bytes += [UInt8](repeating: 0, count: (512 - records.utf8.count % 512) % 512)
    return bytes
  }

  func error(_ bytes: [UInt8]) -> TarError? {
    do { _ = try readArchive(bytes) } catch { return error as? TarError }
    return nil
  }

  let end = TarWriter.end

  @Test func `an archive cut anywhere is truncated, not shorter`() throws {
    let whole = try archive(TarRoundTripTests.entries)
    for count in stride(from: 0, to: whole.count - 1024, by: 256) {
      guard case .truncated = error(Array(whole[..<count])) else {
        Issue.record("cut at \(count) of \(whole.count) it was not found to be truncated")
        return
      }
    }
  }

  @Test func `a damaged header is found by its checksum`() throws {
    var bytes = block() + end
    bytes[3] ^= 1
    #expect(error(bytes) == .badChecksum(at: 0))
    #expect(error([UInt8](repeating: 0x41, count: 2048)) == .badChecksum(at: 0))
  }

  @Test(arguments: ["/etc/passwd", "../up", "a/../../b"])
  func `names that leave the tree are refused, in every form`(_ name: String) {
    let record = " path=\(name)\n"
    let length = record.utf8.count + 2
    for bytes in [block(name: name) + end, pax("\(length)\(record)") + block() + end] {
      guard case .unsafePath = error(bytes) else {
        Issue.record("'\(name)' was let through")
        return
      }
    }
  }

  @Test func `hard links out of the tree are refused, symbolic links are only text`() throws {
    guard case .unsafePath = error(block(kind: "1", link: "../../etc/shadow") + end) else {
      Issue.record("the hard link was let through")
      return
    }
    let sink = try readArchive(block(kind: "2", link: "../../etc/shadow") + end)
    #expect(sink.entries.first?.kind == .symbolicLink(target: Array("../../etc/shadow".utf8)))
  }

  @Test func `numbers that are none, negative or too large are refused`() {
    for size in ["0000000000x", "8", "-1"] { #expect(error(block(size: size) + end) != nil) }
    let huge = block { bytes in
      bytes[124] = 0x80
      for index in 125..<136 { bytes[index] = 0xFF }
    }
    #expect(error(huge + end) != nil)
    let negative = block { bytes in for index in 124..<136 { bytes[index] = 0xFF } }
    #expect(error(negative + end) != nil)
  }

  @Test func `a size beyond what follows is a truncated archive`() {
    guard case .truncated = error(block(size: "77777777777") + end) else {
      Issue.record("the missing content was not noticed")
      return
    }
  }

  @Test func `extended headers are bounded before they are read`() {
    #expect(error(block(size: "77777777777", kind: "x") + end) == .tooLarge("an extended header", limit: 4 << 20))
    #expect(error(block(size: "77777777777", kind: "L") + end) == .tooLarge("an extended header", limit: 4 << 20))
  }

  @Test(arguments: [
    "5 a=b\n", "7 a=b\n", "0 a=b\n", "6 ab\n\n", "99999999999999999999 a=b\n", " a=b\n", "6 a=bX", "x path=y\n",
    "-6 a=b\n", "3 \n", "13 size=none\n", "15 mtime=1.2.3\n", "22 GNU.sparse.map=1,\n", "27 GNU.sparse.numbytes=12\n",
  ])
  func `extended headers with wrong lengths or values are refused`(_ records: String) {
    guard case .malformed = error(pax(records) + block() + end) else {
      Issue.record("'\(records)' was let through")
      return
    }
  }

  @Test func `sparse maps that overlap, leave the file or do not match what is stored are refused`() {
    func map(_ text: String, stored: String) -> [UInt8] {
      func record(_ text: String) -> String {
        var length = text.utf8.count + 3
        while "\(length) \(text)\n".utf8.count != length { length += 1 }
        return "\(length) \(text)\n"
      }
      return pax(record("GNU.sparse.size=4096") + record("GNU.sparse.map=\(text)"))
        + block(size: stored) + [UInt8](repeating: 1, count: 1024) + end
    }
    #expect(error(map("0,512,1024,512", stored: "00000002000")) == nil)
    for bad in ["512,512,0,512", "0,512,256,512", "0,512,4000,512", "0,512", "18446744073709551615,512,0,512"] {
      guard case .malformed = error(map(bad, stored: "00000002000")) else {
        Issue.record("the map \(bad) was let through")
        return
      }
    }
  }

  @Test func `kinds that are not understood are refused by name`() {
    #expect(error(block(kind: "M") + end) == .unsupportedKind(UInt8(ascii: "M"), path: "file"))
  }

  @Test func `what follows the end of an archive is ignored`() throws {
    let sink = try readArchive(block() + end + [UInt8](repeating: 0x55, count: 4096))
    #expect(sink.entries.count == 1)
  }

  @Test func `random changes never do more than throw`() throws {
    let whole = try archive(TarRoundTripTests.entries)
    var generator = SplitMix(state: 42)
    for _ in 0..<300 {
      var bytes = whole
      for _ in 0..<4 {
        bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
      }
      _ = try? readArchive(bytes, pieces: 1000)
    }
  }
}

/// The same numbers in every run.
struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var value = state
    value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
    return value ^ (value >> 31)
  }
}
