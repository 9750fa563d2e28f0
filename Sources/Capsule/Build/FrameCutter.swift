/// Where the tar stream is cut into frames: by its content, so that a change moves only the cuts around it.
///
/// A rolling hash over the last 64 bytes decides (a gear hash, as in FastCDC: Xia et al., USENIX ATC 2016). A frame's
/// end depends on nothing but the bytes from its beginning on. `docs/capsule-format.md` has the rule in words.
struct FrameCutter: Sendable {
  /// No cut is looked for before this many bytes.
  static let minimum = 128 << 10
  /// Up to here a cut is unlikely, from here on likely: most frames end near it.
  static let normal = 512 << 10
  /// Here a frame ends, whatever is in it.
  static let limit = 2 << 20
  /// The hash's highest bits that are 0 at a cut, before and from the normal length on: 2 more and 2 less than make
  /// one cut in `normal` bytes.
  static let earlyBits: UInt64 = 21
  static let lateBits: UInt64 = 17

  /// For each byte the number it adds: the first 256 numbers of SplitMix64 begun with 0 (Steele, Lea, Flood:
  /// Fast Splittable Pseudorandom Number Generators, OOPSLA 2014).
  static let gear: [UInt64] = {
    var state: UInt64 = 0
    return (0..<256).map { _ in
      state &+= 0x9E37_79B9_7F4A_7C15
      var value = state
      value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
      value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
      return value ^ (value >> 31)
    }
  }()

  /// Bytes of the next frame out of those gathered so far.
  ///
  /// - Returns: `nil` to gather more: `limit` bytes are enough.
  func cut(_ gathered: UnsafeRawBufferPointer, atEnd: Bool) -> Int? {
    guard gathered.count >= Self.limit || atEnd, let bytes = gathered.baseAddress, !gathered.isEmpty else { return nil }
    let end = min(gathered.count, Self.limit)
    guard end > Self.minimum else { return end }
    return Self.gear.withUnsafeBufferPointer { table -> Int in
      guard let gear = table.baseAddress else { return end }
      var hash: UInt64 = 0
      var index = Self.minimum
      func find(before stop: Int, bits: UInt64) -> Bool {
        // Two bytes at once, so that the second need not wait for the first.
        while index &+ 1 < stop {
          let first = gear[Int(bytes.load(fromByteOffset: index, as: UInt8.self))]
          let second = gear[Int(bytes.load(fromByteOffset: index &+ 1, as: UInt8.self))]
          let between = (hash &<< 1) &+ first
          hash = (hash &<< 2) &+ ((first &<< 1) &+ second)
          if between &>> (64 &- bits) == 0 {
            index &+= 1
            return true
          }
          index &+= 2
          if hash &>> (64 &- bits) == 0 { return true }
        }
        while index < stop {
          hash = (hash &<< 1) &+ gear[Int(bytes.load(fromByteOffset: index, as: UInt8.self))]
          index &+= 1
          if hash &>> (64 &- bits) == 0 { return true }
        }
        return false
      }
      if find(before: min(end, Self.normal), bits: Self.earlyBits) { return index }
      if find(before: end, bits: Self.lateBits) { return index }
      return end
    }
  }
}
