/// A 48-bit hardware address (EUI-48) of an Ethernet card.
///
/// Written as six colon-separated pairs of lower-case hexadecimal digits.
package struct MACAddress: Hashable, Sendable, Comparable {
  /// The 48 bits, the first byte on the wire uppermost; the upper 16 bits are zero.
  package let rawValue: UInt64

  /// - Parameter rawValue: The address in the lower 48 bits; anything above them is dropped.
  package init(rawValue: UInt64) {
    self.rawValue = rawValue & 0xFFFF_FFFF_FFFF
  }

  /// - Parameter bytes: The six bytes in wire order; `nil` for any other count.
  package init?(bytes: some Collection<UInt8>) {
    guard bytes.count == 6 else { return nil }
    rawValue = bytes.reduce(0) { $0 << 8 | UInt64($1) }
  }

  /// The six bytes in wire order.
  package var bytes: [UInt8] {
    (0..<6).map { UInt8(truncatingIfNeeded: rawValue >> (40 - 8 * $0)) }
  }

  /// All ones: everyone on the segment.
  package static let broadcast = MACAddress(rawValue: 0xFFFF_FFFF_FFFF)

  /// Whether this names one card: neither a group address nor all zeros.
  package var isUnicast: Bool {
    rawValue != 0 && rawValue >> 40 & 1 == 0
  }

  /// The six pairs joined with `separator`, an ASCII character.
  package func formatted(separator: Character) -> String {
    let separator = separator.asciiValue ?? UInt8(ascii: ":")
    return String(unsafeUninitializedCapacity: 17) { text in
      for index in 0..<6 {
        let byte = UInt8(truncatingIfNeeded: rawValue >> UInt64(40 - 8 * index))
        if index > 0 { text[3 * index - 1] = separator }
        text[3 * index] = lowerHexDigit(byte >> 4)
        text[3 * index + 1] = lowerHexDigit(byte & 0xF)
      }
      return 17
    }
  }

  package static func < (left: MACAddress, right: MACAddress) -> Bool {
    left.rawValue < right.rawValue
  }
}

extension MACAddress {
  package func hash(into hasher: inout Hasher) { hasher.combine(rawValue) }

  /// As a key of a dictionary: one number is hashed faster than through a hasher, and by the same keyed function, so
  /// that nobody on the network can choose addresses that collide.
  package func _rawHashValue(seed: Int) -> Int { rawValue._rawHashValue(seed: seed) }
}

extension MACAddress: LosslessStringConvertible {
  /// Six pairs of hexadecimal digits in either case, separated by `:` or `-`, or twelve digits alone.
  package init?(_ description: String) {
    let text = Array(description.utf8)
    let step: Int
    switch text.count {
    case 17: step = 3
    case 12: step = 2
    default: return nil
    }
    if step == 3 {
      let separator = text[2]
      guard separator == UInt8(ascii: ":") || separator == UInt8(ascii: "-") else { return nil }
      for index in stride(from: 2, to: 17, by: 3) where text[index] != separator { return nil }
    }
    var value: UInt64 = 0
    for index in 0..<6 {
      guard let high = hexDigit(text[index * step]), let low = hexDigit(text[index * step + 1]) else { return nil }
      value = value << 8 | UInt64(high << 4 | low)
    }
    rawValue = value
  }

  package var description: String { formatted(separator: ":") }
}

extension MACAddress: Codable {
  package init(from decoder: any Decoder) throws {
    self = try decodeText(from: decoder, expected: "a hardware address such as 52:54:00:12:34:56")
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}

private func lowerHexDigit(_ value: UInt8) -> UInt8 {
  value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
}

func hexDigit(_ character: UInt8) -> UInt8? {
  switch character {
  case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0")
  case UInt8(ascii: "a")...UInt8(ascii: "f"): character - UInt8(ascii: "a") + 10
  case UInt8(ascii: "A")...UInt8(ascii: "F"): character - UInt8(ascii: "A") + 10
  default: nil
  }
}

/// Reads a value from its text, and says what was expected where it is something else.
func decodeText<Value: LosslessStringConvertible>(from decoder: any Decoder, expected: String) throws -> Value {
  let container = try decoder.singleValueContainer()
  let text = try container.decode(String.self)
  guard let value = Value(text) else {
    throw DecodingError.dataCorruptedError(in: container, debugDescription: "'\(text)' is not \(expected)")
  }
  return value
}
