import NetworkTypes

/// What the value of a module's variable must be.
package enum VariableType: String, Hashable, Sendable, Codable, CaseIterable {
  case text
  case integer
  case boolean
  case address
  /// Words with commas or blanks between them.
  case list

  package enum Value: Hashable, Sendable {
    case text(String)
    case integer(Int)
    case boolean(Bool)
    case list([String])
  }

  package var allowed: String {
    switch self {
    case .text: "text"
    case .integer: "a whole number"
    case .boolean: "true or false"
    case .address: "an IPv4 address"
    case .list: "words with commas or blanks between them"
    }
  }

  /// `nil` where the text is no such value.
  package func value(_ text: String) -> Value? {
    switch self {
    case .text: .text(text)
    case .integer: Int(text).map(Value.integer)
    case .boolean:
      switch text.lowercased() {
      case "true", "yes", "on", "1": .boolean(true)
      case "false", "no", "off", "0": .boolean(false)
      default: nil
      }
    case .address: IPv4Address(text).map { .text($0.description) }
    case .list: .list(text.split { $0 == "," || $0.isWhitespace }.map(String.init))
    }
  }

  /// The value as scripts find it in their environment: `true` and `false`, words with a blank between them.
  package func words(_ text: String) -> String {
    switch value(text) {
    case .boolean(let isTrue): isTrue ? "true" : "false"
    case .list(let words): words.joined(separator: " ")
    default: text
    }
  }
}
