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

extension IPv4Address {
  package func hash(into hasher: inout Hasher) { hasher.combine(rawValue) }

  /// As ``MACAddress`` has it.
  package func _rawHashValue(seed: Int) -> Int { rawValue._rawHashValue(seed: seed) }
}

extension IPv4Address: LosslessStringConvertible {
  /// Four decimal numbers from 0 to 255 joined by dots, without leading zeros (which some read as octal).
  package init?(_ description: String) {
    var value: UInt32 = 0
    var parts = 1
    var number: UInt32 = 0
    var digits = 0
    for character in description.utf8 {
      if character == UInt8(ascii: ".") {
        guard digits > 0, parts < 4 else { return nil }
        value = value << 8 | number
        parts += 1
        number = 0
        digits = 0
        continue
      }
      guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(character), digits == 0 || number > 0 else { return nil }
      number = number * 10 + UInt32(character - UInt8(ascii: "0"))
      digits += 1
      guard number <= 255 else { return nil }
    }
    guard parts == 4, digits > 0 else { return nil }
    value = value << 8 | number
    rawValue = value
  }

  package var description: String {
    // Written thousands of times a second, as the key of a lease: made in place.
    String(unsafeUninitializedCapacity: 15) { text in
      var count = 0
      for shift: UInt32 in [24, 16, 8, 0] {
        let byte = UInt8(truncatingIfNeeded: rawValue >> shift)
        for place: UInt8 in [100, 10, 1] where byte >= place || place == 1 {
          text[count] = UInt8(ascii: "0") + byte / place % 10
          count += 1
        }
        if shift > 0 {
          text[count] = UInt8(ascii: ".")
          count += 1
        }
      }
      return count
    }
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
