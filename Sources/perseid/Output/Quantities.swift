/// Numbers as people read them.
enum Quantity {
  /// `356 MiB`, `12.4 KiB`, `17 B`.
  static func bytes(_ count: Int64) -> String {
    guard count >= 1024 else { return "\(count) B" }
    var value = Double(count)
    var unit = ""
    for next in ["KiB", "MiB", "GiB", "TiB"] {
      value /= 1024
      unit = next
      if value < 1024 { break }
    }
    return (value < 100 ? decimal(value, 1) : decimal(value, 0)) + " " + unit
  }

  /// `0.250 s`, `12.5 s`, `340 s`: seconds, to about three digits.
  static func seconds(_ seconds: Double) -> String {
    switch abs(seconds) {
    case ..<10: decimal(seconds, 3) + " s"
    case ..<100: decimal(seconds, 1) + " s"
    default: decimal(seconds, 0) + " s"
    }
  }

  /// A number with so many digits behind the point, without the full Foundation's formatters.
  static func decimal(_ value: Double, _ digits: Int) -> String {
    var scale = 1.0
    for _ in 0..<digits { scale *= 10 }
    guard value.isFinite, abs(value) < 1e15 else { return "?" }
    let scaled = (value * scale).rounded()
    let whole = Int64(abs(scaled) / scale)
    let sign = scaled < 0 ? "-" : ""
    guard digits > 0 else { return sign + String(whole) }
    let fraction = String(Int64(abs(scaled) - Double(whole) * scale))
    return sign + "\(whole)." + String(repeating: "0", count: digits - fraction.count) + fraction
  }
}
