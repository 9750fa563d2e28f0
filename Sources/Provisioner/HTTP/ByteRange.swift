/// What a Range field asks of a body of known size (RFC 9110 section 14.2).
enum ByteRange: Hashable, Sendable {
  /// No range, or one this server does not read: the whole body, as the RFC allows.
  case whole
  /// These bytes: 206.
  case part(Range<Int>)
  /// Begins behind the end: 416.
  case unsatisfiable

  /// - Parameters:
  ///   - field: The Range field's value, `nil` where there is none.
  ///   - size: Bytes of the whole body.
  init(_ field: String?, size: Int) {
    guard let field, let specification = Self.single(field) else {
      self = .whole
      return
    }
    switch specification {
    case (nil, nil):
      self = .whole
    case (nil, let suffix?):
      self = suffix == 0 || size == 0 ? .unsatisfiable : .part(max(0, size - suffix)..<size)
    case (let first?, let last):
      if let last, last < first {
        // RFC 9110 section 14.1.1: "invalid if the last-pos value is present and less than first-pos".
        self = .whole
      } else if first >= size {
        self = .unsatisfiable
      } else {
        self = .part(first..<min(last ?? size - 1, size - 1) + 1)
      }
    }
  }

  /// The two numbers of `bytes=first-last`; `nil` for other units, several ranges, or what is no number.
  private static func single(_ field: String) -> (first: Int?, last: Int?)? {
    let text = field.filter { $0 != " " && $0 != "\t" }
    guard text.lowercased().hasPrefix("bytes=") else { return nil }
    let ends = text.dropFirst(6).split(separator: "-", omittingEmptySubsequences: false)
    guard ends.count == 2 else { return nil }
    var numbers: [Int?] = []
    for end in ends {
      if end.isEmpty {
        numbers.append(nil)
        continue
      }
      guard end.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else { return nil }
      // More digits than an Int holds lie behind the end of any body.
      numbers.append(Int(end) ?? .max)
    }
    return (numbers[0], numbers[1])
  }
}
