/// What a person names nodes by: `n0001`, `n00[00-97,99-199]`, `n1*`, `n000?`, `@group`, `@*`.
package struct NodePattern: Hashable, Sendable {
  package enum Kind: Hashable, Sendable {
    /// Each of these must be there.
    case names([String])
    /// Any that fits; more than one `[...]` with a wildcard is expanded first.
    case wildcards([String])
    case group(String)
  }

  package let kind: Kind
  package let text: String

  /// More names than this in one pattern are a slip of the hand.
  package static let nameLimit = 100_000

  /// - Throws: `ApplianceError` with code `invalid`, saying what is wrong with the pattern.
  package init(_ text: String) throws {
    self.text = text
    if text.hasPrefix("@") {
      kind = .group(String(text.dropFirst()))
      return
    }
    let names = try Self.expand(text, of: text)
    kind = text.contains(where: { $0 == "*" || $0 == "?" }) ? .wildcards(names) : .names(names)
  }

  private static func expand(_ text: String, of pattern: String) throws -> [String] {
    func invalid(_ reason: String) -> ApplianceError {
      ApplianceError(
        .invalid,
        "'\(pattern)' is not a pattern of nodes: \(reason). Examples: n0001, n00[00-97,99-199], n1*, @group.")
    }
    guard !text.isEmpty else { return [""] }
    guard let open = text.firstIndex(of: "[") else {
      guard !text.contains("]") else { throw invalid("']' without '['") }
      return [text]
    }
    guard let close = text[open...].firstIndex(of: "]") else { throw invalid("'[' without ']'") }
    guard !text[..<open].contains("]") else { throw invalid("']' before '['") }
    let head = text[..<open]
    let tails = try expand(String(text[text.index(after: close)...]), of: pattern)
    var names: [String] = []
    for part in text[text.index(after: open)..<close].split(separator: ",", omittingEmptySubsequences: false) {
      let bounds = part.split(separator: "-", omittingEmptySubsequences: false)
      guard (1...2).contains(bounds.count), let first = bounds.first, let last = bounds.last,
        let lower = number(first), let upper = number(last), lower <= upper
      else { throw invalid("'\(part)' is neither a number nor a range of numbers") }
      guard (upper - lower + 1) * tails.count + names.count <= nameLimit else {
        throw invalid("it stands for more than \(nameLimit) names")
      }
      for value in lower...upper {
        let digits = String(value)
        let filled = String(repeating: "0", count: max(0, first.count - digits.count)) + digits
        for tail in tails { names.append(head + filled + tail) }
      }
    }
    return names
  }

  private static func number(_ text: Substring) -> Int? {
    guard (1...9).contains(text.utf8.count), text.utf8.allSatisfy({ (48...57).contains($0) }) else { return nil }
    return Int(text)
  }

  /// Whether a name fits a pattern with `*` (any run) and `?` (any one character).
  package static func matches(_ name: String, _ pattern: String) -> Bool {
    let name = Array(name.utf8)
    let pattern = Array(pattern.utf8)
    var position = 0
    var index = 0
    var star: (index: Int, position: Int)?
    while position < name.count {
      if index < pattern.count, pattern[index] == UInt8(ascii: "*") {
        star = (index, position)
        index += 1
      } else if index < pattern.count, pattern[index] == UInt8(ascii: "?") || pattern[index] == name[position] {
        index += 1
        position += 1
      } else if let last = star {
        index = last.index + 1
        position = last.position + 1
        star = (last.index, position)
      } else {
        return false
      }
    }
    return pattern[index...].allSatisfy { $0 == UInt8(ascii: "*") }
  }
}
