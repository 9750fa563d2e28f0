/// Matches a device's modalias against a pattern of modules.alias, as fnmatch(3) without flags does:
/// `*`, `?` and `[...]` with ranges and `!`.
package enum AliasPattern {
  package static func matches(_ pattern: ArraySlice<UInt8>, _ text: ArraySlice<UInt8>) -> Bool {
    pattern.withUnsafeBufferPointer { pattern in
      text.withUnsafeBufferPointer { text in matches(pattern, text) }
    }
  }

  /// A star takes as little as it can and one more on each failure: no recursion, at most |pattern| x |text| steps.
  private static func matches(_ pattern: UnsafeBufferPointer<UInt8>, _ text: UnsafeBufferPointer<UInt8>) -> Bool {
    var place = 0
    var position = 0
    var star: (place: Int, position: Int)?
    while position < text.count {
      if place < pattern.count {
        let character = pattern[place]
        if character == UInt8(ascii: "*") {
          star = (place + 1, position)
          place += 1
          continue
        }
        if let next = step(pattern, place, text[position]) {
          place = next
          position += 1
          continue
        }
      }
      guard let back = star else { return false }
      star = (back.place, back.position + 1)
      place = back.place
      position = back.position + 1
    }
    while place < pattern.count, pattern[place] == UInt8(ascii: "*") { place += 1 }
    return place == pattern.count
  }

  /// Where the pattern goes on when the element at `place` takes `byte`; `nil` where it does not.
  private static func step(_ pattern: UnsafeBufferPointer<UInt8>, _ place: Int, _ byte: UInt8) -> Int? {
    switch pattern[place] {
    case UInt8(ascii: "?"):
      return place + 1
    case UInt8(ascii: "["):
      var index = place + 1
      let isNegated =
        index < pattern.count && (pattern[index] == UInt8(ascii: "!") || pattern[index] == UInt8(ascii: "^"))
      if isNegated { index += 1 }
      var isIn = false
      var isFirst = true
      while index < pattern.count, pattern[index] != UInt8(ascii: "]") || isFirst {
        isFirst = false
        let low = pattern[index]
        if index + 2 < pattern.count, pattern[index + 1] == UInt8(ascii: "-"), pattern[index + 2] != UInt8(ascii: "]") {
          if low <= byte && byte <= pattern[index + 2] { isIn = true }
          index += 3
        } else {
          if low == byte { isIn = true }
          index += 1
        }
      }
      // Without its end the bracket stands for itself.
      guard index < pattern.count else { return byte == UInt8(ascii: "[") ? place + 1 : nil }
      return isIn != isNegated ? index + 1 : nil
    case let literal:
      return literal == byte ? place + 1 : nil
    }
  }
}
