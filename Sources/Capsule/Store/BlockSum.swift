/// A sum of 64 bits over bytes that are copied from one blob into the next, several times as fast as SHA-256.
///
/// Against disks that forget, not against people: who can write there can write the build's record too.
struct BlockSum {
  private static let stride = 32
  private var lanes = SIMD4<UInt64>(1, 2, 3, 4)

  /// - Parameter bytes: A multiple of 32.
  mutating func update(_ bytes: UnsafeRawBufferPointer) {
    // Four at once, or each would wait for the one before it.
    var lanes = lanes
    for offset in Swift.stride(from: 0, to: bytes.count &- bytes.count % Self.stride, by: Self.stride) {
      lanes ^= bytes.loadUnaligned(fromByteOffset: offset, as: SIMD4<UInt64>.self)
      lanes = lanes &* SIMD4(repeating: 0x9E37_79B9_7F4A_7C15)
      lanes ^= lanes &>> SIMD4(repeating: 29)
    }
    self.lanes = lanes
  }

  var value: UInt64 { lanes[0] ^ lanes[1] &* 3 ^ lanes[2] &* 5 ^ lanes[3] &* 7 }

  /// Of bytes of any number; those that are missing to a multiple of 32 count as zeros.
  static func of(_ bytes: [UInt8]) -> UInt64 {
    bytes.withUnsafeBytes { bytes in
      var sum = BlockSum()
      sum.update(bytes)
      let rest = bytes.count % stride
      if rest > 0 {
        let last = Array(bytes.suffix(rest)) + [UInt8](repeating: 0, count: stride - rest)
        last.withUnsafeBytes { sum.update($0) }
      }
      return sum.value
    }
  }
}
