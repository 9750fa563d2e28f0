import NetworkTypes

/// One value for each of many addresses, most of which lie in a few ranges.
///
/// Addresses of the ranges are places in arrays, so that looking at one hashes nothing, and a table that fills never
/// stands still to grow, as a dictionary of many thousands does. A block of neighbours gets its memory with the first of
/// them: large ranges cost nothing before they are used.
struct AddressTable<Value> {
  private static var blockSize: UInt32 { 256 }

  private struct Region {
    var lower: UInt32
    var upper: UInt32
    /// Values by the distance from `lower`; a block that is empty has none.
    var blocks: [[Value?]]
  }

  private var regions: [Region]
  /// Those outside of the ranges.
  private var others: [IPv4Address: Value] = [:]

  init(_ ranges: [IPv4Range]) {
    regions = ranges.map { range in
      Region(
        lower: range.lowerBound.rawValue, upper: range.upperBound.rawValue,
        blocks: Array(repeating: [], count: (range.count - 1) / Int(Self.blockSize) + 1))
    }
  }

  subscript(address: IPv4Address) -> Value? {
    get {
      guard let (region, block, index) = place(of: address) else { return others[address] }
      return regions[region].blocks[block].isEmpty ? nil : regions[region].blocks[block][index]
    }
    set {
      guard let (region, block, index) = place(of: address) else {
        others[address] = newValue
        return
      }
      if regions[region].blocks[block].isEmpty {
        if newValue == nil { return }
        regions[region].blocks[block] = Array(repeating: nil, count: Int(Self.blockSize))
      }
      regions[region].blocks[block][index] = newValue
    }
  }

  private func place(of address: IPv4Address) -> (region: Int, block: Int, index: Int)? {
    for region in regions.indices where regions[region].lower <= address.rawValue {
      guard address.rawValue <= regions[region].upper else { continue }
      let offset = address.rawValue - regions[region].lower
      return (region, Int(offset / Self.blockSize), Int(offset % Self.blockSize))
    }
    return nil
  }
}
