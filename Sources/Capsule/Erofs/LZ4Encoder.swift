/// Compresses pieces of up to 64 KiB into LZ4 blocks (LZ4 block format, lz4_Block_format.md), which is what the kernel
/// reads in erofs images. Its own and not liblz4's, so that the bytes are the same whatever library a machine has.
///
/// Greedy, with one candidate for each hash of four bytes; where nothing is found it looks less and less closely.
/// One piece after the other, by one task at a time.
struct LZ4Encoder: ~Copyable {
  static let inputLimit = 64 << 10

  private static let hashBits: UInt32 = 13
  /// The format's rules: the last match begins so many bytes before the end, or earlier, ...
  private static let lastMatch = 12
  /// ... and the last bytes are literals.
  private static let lastLiterals = 5
  private static let shortestMatch = 4

  /// Where in the piece a hash was seen last; 0 where it was not, which costs a comparison.
  private let seen = UnsafeMutablePointer<UInt16>.allocate(capacity: 1 << LZ4Encoder.hashBits)

  deinit {
    seen.deallocate()
  }

  /// - Parameter output: As much as the block may be.
  /// - Returns: The bytes of the block; `nil` where they would be more.
  func compress(_ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Int? {
    precondition(input.count <= Self.inputLimit)
    guard let source = input.baseAddress, let target = output.baseAddress else { return nil }
    var block = Block(source: source, count: input.count, target: target, capacity: output.count)
    guard input.count > Self.lastMatch else { return block.end() }
    seen.update(repeating: 0, count: 1 << Self.hashBits)
    let matchStart = input.count - Self.lastMatch
    let matchEnd = input.count - Self.lastLiterals
    var position = 1
    search: while true {
      var attempts = 1 << 6
      var candidate: Int
      repeat {
        guard position <= matchStart else { break search }
        candidate = exchange(position, source)
        if Self.word(source, candidate) == Self.word(source, position) { break }
        position &+= attempts &>> 6
        attempts &+= 1
      } while true
      while position > block.anchor, candidate > 0,
        source.load(fromByteOffset: position &- 1, as: UInt8.self)
          == source.load(fromByteOffset: candidate &- 1, as: UInt8.self)
      {
        position &-= 1
        candidate &-= 1
      }
      while true {
        let length =
          Self.shortestMatch
          &+ Self.common(source, position &+ Self.shortestMatch, candidate &+ Self.shortestMatch, before: matchEnd)
        guard block.append(match: candidate, length: length, at: position) else { return nil }
        position &+= length
        guard position <= matchStart else { break search }
        _ = exchange(position &- 2, source)
        candidate = exchange(position, source)
        guard Self.word(source, candidate) == Self.word(source, position) else { break }
      }
      position &+= 1
    }
    return block.end()
  }

  /// Where the same four bytes may have been before.
  private func exchange(_ position: Int, _ source: UnsafeRawPointer) -> Int {
    let hash = Int((Self.word(source, position) &* 2_654_435_761) &>> (32 &- Self.hashBits))
    let candidate = Int(seen[hash])
    seen[hash] = UInt16(truncatingIfNeeded: position)
    return candidate
  }

  private static func word(_ source: UnsafeRawPointer, _ position: Int) -> UInt32 {
    UInt32(littleEndian: source.loadUnaligned(fromByteOffset: position, as: UInt32.self))
  }

  /// Bytes that are the same from two positions on; the first is the later one.
  private static func common(_ source: UnsafeRawPointer, _ first: Int, _ second: Int, before end: Int) -> Int {
    var length = 0
    while first &+ length &+ 8 <= end {
      let difference =
        source.loadUnaligned(fromByteOffset: first &+ length, as: UInt64.self)
        ^ source.loadUnaligned(fromByteOffset: second &+ length, as: UInt64.self)
      if difference != 0 { return length &+ UInt64(littleEndian: difference).trailingZeroBitCount &>> 3 }
      length &+= 8
    }
    while first &+ length < end,
      source.load(fromByteOffset: first &+ length, as: UInt8.self)
        == source.load(fromByteOffset: second &+ length, as: UInt8.self)
    {
      length &+= 1
    }
    return length
  }

  /// The block so far.
  private struct Block {
    let source: UnsafeRawPointer
    let count: Int
    let target: UnsafeMutableRawPointer
    let capacity: Int
    private var used = 0
    /// The first byte that is not in the block yet.
    private(set) var anchor = 0

    init(source: UnsafeRawPointer, count: Int, target: UnsafeMutableRawPointer, capacity: Int) {
      self.source = source
      self.count = count
      self.target = target
      self.capacity = capacity
    }

    /// Literals up to `position`, and the match there. `false` where there is no room.
    mutating func append(match: Int, length: Int, at position: Int) -> Bool {
      let literals = position &- anchor
      let rest = length &- LZ4Encoder.shortestMatch
      guard used &+ literals &+ literals / 255 &+ rest / 255 &+ 5 <= capacity else { return false }
      put(literals: literals, then: min(rest, 15))
      let distance = position &- match
      put(UInt8(truncatingIfNeeded: distance))
      put(UInt8(truncatingIfNeeded: distance &>> 8))
      if rest >= 15 { put(rest: rest &- 15) }
      anchor = position &+ length
      return true
    }

    /// What is left, as literals.
    mutating func end() -> Int? {
      let literals = count &- anchor
      guard used &+ literals &+ literals / 255 &+ 2 <= capacity else { return nil }
      put(literals: literals, then: 0)
      return used
    }

    private mutating func put(literals: Int, then match: Int) {
      put(UInt8(truncatingIfNeeded: min(literals, 15) &<< 4 | match))
      if literals >= 15 { put(rest: literals &- 15) }
      (target + used).copyMemory(from: source + anchor, byteCount: literals)
      used &+= literals
    }

    private mutating func put(rest: Int) {
      var rest = rest
      while rest >= 255 {
        put(255)
        rest &-= 255
      }
      put(UInt8(truncatingIfNeeded: rest))
    }

    private mutating func put(_ byte: UInt8) {
      target.storeBytes(of: byte, toByteOffset: used, as: UInt8.self)
      used &+= 1
    }
  }
}
