import CapsuleFormat

/// Names of nodes, groups and capsules, and the pattern new nodes are named by.
package enum NodeName {
  /// A host name (RFC 1123, section 2.1): letters, digits and hyphens, no hyphen at either end, at most 63.
  package static func isValid(_ name: String) -> Bool {
    let bytes = Array(name.utf8)
    guard (1...63).contains(bytes.count), let first = bytes.first, let last = bytes.last else { return false }
    return bytes.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "-") } && isAlphanumeric(first)
      && isAlphanumeric(last)
  }

  /// A group's or a capsule's name: letters, digits, `.`, `_` and `-`, beginning with a letter or digit, at most 64.
  package static func isValidLabel(_ name: String) -> Bool {
    let bytes = Array(name.utf8)
    guard (1...64).contains(bytes.count), let first = bytes.first else { return false }
    let others = Array("._-".utf8)
    return isAlphanumeric(first) && bytes.allSatisfy { isAlphanumeric($0) || others.contains($0) }
  }

  /// A provisionary state: lower-case letters, digits, `-` and `_`, at most 32, beginning with a letter.
  package static func isValidState(_ name: String) -> Bool {
    NodescriptName.isValidState(name)
  }

  package static let stateWords = "lower-case letters, digits, '-' and '_', at most 32, a letter first"

  private static func isAlphanumeric(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"):
      true
    default: false
    }
  }
}

/// `n####`: text, one run of `#` for the number, text. The first node has the number 0.
package struct NamePattern: Hashable, Sendable {
  package let prefix: String
  package let suffix: String
  /// The number of `#`: numbers are filled up with zeros to so many digits; longer ones stay whole.
  package let digits: Int

  /// `nil` where there is no run of `#`, or more than one, or the names would be no host names.
  package init?(_ text: String) {
    guard let first = text.firstIndex(of: "#"), let last = text.lastIndex(of: "#") else { return nil }
    let run = text[first...last]
    guard run.allSatisfy({ $0 == "#" }), run.count <= 9 else { return nil }
    prefix = String(text[..<first])
    suffix = String(text[text.index(after: last)...])
    digits = run.count
    guard NodeName.isValid(name(0)), name(0).utf8.count <= 50 else { return nil }
  }

  package func name(_ number: Int) -> String {
    let text = String(number)
    return prefix + String(repeating: "0", count: max(0, digits - text.count)) + text + suffix
  }

  /// The number in a name of this pattern.
  package func number(of name: String) -> Int? {
    guard name.hasPrefix(prefix), name.hasSuffix(suffix), name.count > prefix.count + suffix.count else { return nil }
    guard let number = Int(name.dropFirst(prefix.count).dropLast(suffix.count)), number >= 0,
      self.name(number) == name
    else { return nil }
    return number
  }
}
