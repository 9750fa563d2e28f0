/// Addresses from one to another, both included, written 10.0.1.1-10.0.200.254.
package struct IPv4Range: Hashable, Sendable {
  package let lowerBound: IPv4Address
  package let upperBound: IPv4Address

  /// `nil` where the bounds are the wrong way round.
  package init?(_ lowerBound: IPv4Address, _ upperBound: IPv4Address) {
    guard lowerBound <= upperBound else { return nil }
    self.lowerBound = lowerBound
    self.upperBound = upperBound
  }

  /// How many addresses: 1 or more.
  package var count: Int { Int(upperBound.rawValue - lowerBound.rawValue) + 1 }

  package func contains(_ address: IPv4Address) -> Bool {
    lowerBound <= address && address <= upperBound
  }

  /// The address `offset` places above the lower bound; `offset` is in 0 ..< `count`.
  package subscript(offset: Int) -> IPv4Address {
    precondition(offset >= 0 && offset < count, "offset \(offset) outside a range of \(count) addresses")
    return IPv4Address(rawValue: lowerBound.rawValue + UInt32(offset))
  }
}

extension IPv4Range: LosslessStringConvertible {
  package init?(_ description: String) {
    let parts = description.split(separator: "-", omittingEmptySubsequences: false)
    guard parts.count == 2, let lower = IPv4Address(String(parts[0])), let upper = IPv4Address(String(parts[1])) else {
      return nil
    }
    self.init(lower, upper)
  }

  package var description: String { "\(lowerBound)-\(upperBound)" }
}

extension IPv4Range: Codable {
  package init(from decoder: any Decoder) throws {
    self = try decodeText(from: decoder, expected: "a range of addresses such as 10.0.1.1-10.0.200.254")
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}
