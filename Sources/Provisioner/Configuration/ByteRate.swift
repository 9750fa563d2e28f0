/// Bytes in a second as people write them: `500 MB/s`, `100 MiB`, `10 Gbit/s`, `125000000`.
struct ByteRate: Hashable, Sendable {
  /// Bytes per second.
  var bytes: Int

  static let allowed =
    "bytes per second such as 500 MB/s, 100 MiB/s or 10 Gbit/s, at least \(least >> 10) KiB/s"

  /// Below this, nodes would not boot.
  private static let least = 64 << 10

  /// `nil` where the text is none, or too small, or larger than anything.
  init?(_ text: String) {
    var rest = text.filter { $0 != " " }[...]
    if rest.hasSuffix("/s") { rest = rest.dropLast(2) }
    let digits = rest.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
    guard let number = Double(digits), number.isFinite else { return nil }
    let units: [String: Double] = [
      "": 1, "B": 1, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
      "Ki": 1024, "Mi": 1_048_576, "Gi": 1_073_741_824, "Ti": 1_099_511_627_776,
    ]
    var unit = String(rest.dropFirst(digits.count))
    var isBits = false
    if unit.hasSuffix("bit") {
      unit = String(unit.dropLast(3))
      isBits = true
    } else if unit.count > 1, unit.hasSuffix("B") {
      unit = String(unit.dropLast())
    }
    guard let scale = units[unit] else { return nil }
    let bytes = number * scale / (isBits ? 8 : 1)
    guard bytes >= Double(Self.least), bytes < 1e15 else { return nil }
    self.bytes = Int(bytes)
  }
}
