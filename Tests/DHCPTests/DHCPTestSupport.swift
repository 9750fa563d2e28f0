import DHCPWire
import NetworkTypes

/// Bytes from hexadecimal digits; everything from `#` to the end of a line is an annotation.
func hex(_ text: String) -> [UInt8] {
  var digits: [UInt8] = []
  for line in text.split(separator: "\n") {
    let code = line.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false)[0]
    for character in code where !character.isWhitespace {
      digits.append(UInt8(String(character), radix: 16)!)
    }
  }
  precondition(digits.count % 2 == 0, "half a byte")
  return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
}

/// Bytes followed by zeros up to `count`.
func padded(_ bytes: [UInt8], to count: Int) -> [UInt8] {
  bytes + [UInt8](repeating: 0, count: max(0, count - bytes.count))
}

func address(_ text: String) -> IPv4Address { IPv4Address(text)! }
func card(_ number: UInt64) -> MACAddress { MACAddress(rawValue: 0x5254_0000_0000 + number) }
