/// What a request line asks for: the path and the query, both decoded (RFC 9112 section 3.2).
struct RequestTarget: Hashable, Sendable {
  /// Begins with `/`.
  var path: String
  /// The first value of each name. `+` stands for itself: nothing that asks here sends forms.
  var query: [String: String]

  /// Longest target that is read, in bytes.
  static let sizeLimit = 4096

  /// `nil` for anything that is no path on this server: a relative path, a broken escape, bytes that
  /// are no UTF-8, or a NUL. The absolute form (`http://host/path`) is taken for its path.
  init?(_ target: String) {
    var rest = Substring(target)
    if !rest.hasPrefix("/") {
      guard let scheme = Self.scheme(of: rest) else { return nil }
      rest = rest.dropFirst(scheme)
      rest = rest.firstIndex(of: "/").map { rest[$0...] } ?? "/"
    }
    if let fragment = rest.firstIndex(of: "#") { rest = rest[..<fragment] }
    let question = rest.firstIndex(of: "?")
    guard let path = Self.decoded(rest[..<(question ?? rest.endIndex)]) else { return nil }
    self.path = path
    query = [:]
    guard let question else { return }
    for pair in rest[rest.index(after: question)...].split(separator: "&") {
      let halves = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard let name = Self.decoded(halves[0]), let value = Self.decoded(halves.count == 2 ? halves[1] : "") else {
        return nil
      }
      if query[name] == nil { query[name] = value }
    }
  }

  private static func scheme(of target: Substring) -> Int? {
    for scheme in ["http://", "https://"] where target.lowercased().hasPrefix(scheme) { return scheme.count }
    return nil
  }

  private static func decoded(_ text: Substring) -> String? {
    var bytes: [UInt8] = []
    var iterator = text.utf8.makeIterator()
    while let byte = iterator.next() {
      guard byte == UInt8(ascii: "%") else {
        bytes.append(byte)
        continue
      }
      guard let high = iterator.next().flatMap(digit), let low = iterator.next().flatMap(digit) else { return nil }
      bytes.append(high << 4 | low)
    }
    guard !bytes.contains(0) else { return nil }
    return String(validating: bytes, as: UTF8.self)
  }

  private static func digit(_ character: UInt8) -> UInt8? {
    switch character {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): character - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): character - UInt8(ascii: "A") + 10
    default: nil
    }
  }
}
