/// The 16-bit numbers of blocks. Blocks are counted from 1 in 64 bits, so files may be of any length; 0 stands for
/// what comes before the first block (the OACK).
package enum BlockNumbering: Hashable, Sendable {
  /// 65535 is followed by 0: what nearly every client expects.
  case rollsOverToZero
  /// 65535 is followed by 1.
  case rollsOverToOne

  /// The number of a block on the wire.
  package func wire(_ block: Int64) -> UInt16 {
    switch self {
    case .rollsOverToZero: UInt16(truncatingIfNeeded: block)
    case .rollsOverToOne: block == 0 ? 0 : UInt16((block - 1) % 65535 + 1)
    }
  }

  /// The block in `range` that has this number on the wire; `nil` where none has.
  /// - Parameter range: Fewer than 65535 blocks, so that there is at most one.
  package func block(_ wire: UInt16, in range: ClosedRange<Int64>) -> Int64? {
    let period: Int64
    switch self {
    case .rollsOverToZero: period = 65536
    case .rollsOverToOne:
      // 0 is the OACK's alone here.
      if wire == 0 { return range.contains(0) ? 0 : nil }
      period = 65535
    }
    // The first block at or above the lower bound with this number.
    let first = max(range.lowerBound, self == .rollsOverToOne ? 1 : 0)
    let distance = ((Int64(wire) - first) % period + period) % period
    let block = first + distance
    return block <= range.upperBound ? block : nil
  }
}
