package import StateProtocol

/// What a nodescript says of itself in its head: what to do when it fails, and how long it may take.
///
///     #!/bin/sh
///     # perseid: on-failure=retry retries=3 timeout=300
package struct ScriptPolicy: Hashable, Sendable {
  package var onFailure = Step.FailurePolicy.goOn
  /// How often it is tried again.
  package var retries: Int?
  /// Seconds.
  package var timeoutSeconds = 1800

  /// Such a line stands among the first ones.
  private static let head = 32
  private static let mark = "# perseid:"

  package init() {}

  /// - Parameter name: Of the script, for messages.
  /// - Throws: `ApplianceError` with line, what was found and what is allowed.
  package init(of content: [UInt8], name: String) throws {
    let lines = content.prefix(16384).split(
      separator: UInt8(ascii: "\n"), maxSplits: Self.head, omittingEmptySubsequences: false)
    for (number, line) in lines.prefix(Self.head).enumerated() where line.starts(with: Self.mark.utf8) {
      let words = String(decoding: line.dropFirst(Self.mark.utf8.count), as: UTF8.self)
      for word in words.split(whereSeparator: \.isWhitespace) {
        try read(word, "The nodescript \(name), line \(number + 1): ")
      }
    }
    if retries != nil, onFailure != .retry {
      throw ApplianceError(
        .refused, "The nodescript \(name): found retries without on-failure=retry, allowed is both or neither.")
    }
  }

  private mutating func read(_ word: Substring, _ place: String) throws {
    let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    let value = parts.count == 2 ? parts[1] : ""
    func number(_ range: ClosedRange<Int>, _ unit: String) throws -> Int {
      guard let number = Int(value), range.contains(number) else {
        throw ApplianceError(
          .refused,
          "\(place)\(parts[0]): found '\(value.prefix(64))', allowed is \(unit) from \(range.lowerBound) to "
            + "\(range.upperBound).")
      }
      return number
    }
    switch parts[0] {
    case "on-failure":
      switch value {
      case "go-on": onFailure = .goOn
      case "retry": onFailure = .retry
      case "stop": onFailure = .stop
      default:
        throw ApplianceError(
          .refused, "\(place)on-failure: found '\(value.prefix(64))', allowed is go-on, retry, stop.")
      }
    case "retries": retries = try number(1...100, "a number")
    case "timeout": timeoutSeconds = try number(1...86400, "seconds")
    default:
      throw ApplianceError(
        .refused, "\(place)found '\(word.prefix(64))', allowed is on-failure=, retries=, timeout=.")
    }
  }
}
