/// An IPv4 address.
package struct IPv4Address: Hashable, Sendable, Comparable {
  /// The address in host order: 10.0.0.1 is 0x0A000001.
  package let rawValue: UInt32

  package init(rawValue: UInt32) {
    self.rawValue = rawValue
  }

  package init(_ first: UInt8, _ second: UInt8, _ third: UInt8, _ fourth: UInt8) {
    rawValue = UInt32(first) << 24 | UInt32(second) << 16 | UInt32(third) << 8 | UInt32(fourth)
  }

  /// - Parameter bytes: The four bytes in wire order; `nil` for any other count.
  package init?(bytes: some Collection<UInt8>) {
    guard bytes.count == 4 else { return nil }
    rawValue = bytes.reduce(0) { $0 << 8 | UInt32($1) }
  }

  /// The four bytes in wire order.
  package var bytes: [UInt8] {
    [
      UInt8(truncatingIfNeeded: rawValue >> 24), UInt8(truncatingIfNeeded: rawValue >> 16),
      UInt8(truncatingIfNeeded: rawValue >> 8), UInt8(truncatingIfNeeded: rawValue),
    ]
  }

  /// 0.0.0.0: no address yet, or any.
  package static let any = IPv4Address(rawValue: 0)
  /// 255.255.255.255: everyone on this segment.
  package static let broadcast = IPv4Address(rawValue: .max)

  package static func < (left: IPv4Address, right: IPv4Address) -> Bool {
    left.rawValue < right.rawValue
  }
}

extension IPv4Address: LosslessStringConvertible {
  /// Four decimal numbers from 0 to 255 joined by dots, without leading zeros (which some read as octal).
  package init?(_ description: String) {
    let parts = description.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    guard parts.count == 4 else { return nil }
    var value: UInt32 = 0
    for part in parts {
      guard (1...3).contains(part.count), part.count == 1 || part.first != UInt8(ascii: "0") else { return nil }
      var number: UInt32 = 0
      for digit in part {
        guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return nil }
        number = number * 10 + UInt32(digit - UInt8(ascii: "0"))
      }
      guard number <= 255 else { return nil }
      value = value << 8 | number
    }
    rawValue = value
  }

  package var description: String {
    bytes.map(String.init).joined(separator: ".")
  }
}

extension IPv4Address: Codable {
  package init(from decoder: any Decoder) throws {
    self = try decodeText(from: decoder, expected: "an IPv4 address such as 10.0.0.1")
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}
