/// Status line and fields of a response (RFC 9112), and how its body is framed.
package struct HTTPResponseHead: Hashable, Sendable {
  package var status: Int
  /// Names in lower case.
  package var fields: [(name: String, value: String)]
  /// Whether the server leaves the connection open.
  package var isPersistent: Bool
  package var framing: Framing

  /// RFC 9112, section 6.3.
  package enum Framing: Hashable, Sendable {
    case length(Int64)
    case chunked
  }

  package struct Malformed: Error, Hashable, Sendable {
    package var reason: String
  }

  /// Bytes of status line and fields that are read at most, the empty line included.
  package static let sizeLimit = 16 << 10

  /// - Parameter bytes: Everything before the empty line, the last line's end included.
  package init(parsing bytes: some Sequence<UInt8>) throws(Malformed) {
    let text = String(decoding: Array(bytes), as: UTF8.self)
    var lines = text.split(separator: "\r\n", omittingEmptySubsequences: true).makeIterator()
    guard let statusLine = lines.next() else { throw Malformed(reason: "no status line") }
    let words = statusLine.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
    guard words.count >= 2, words[0] == "HTTP/1.1" || words[0] == "HTTP/1.0", words[1].utf8.count == 3,
      let status = Int(words[1]), status >= 100
    else {
      throw Malformed(reason: "'\(statusLine.prefix(80))' instead of an HTTP/1.1 status line")
    }
    self.status = status
    fields = []
    while let line = lines.next() {
      guard let colon = line.firstIndex(of: ":"), colon != line.startIndex, line.first != " ", line.first != "\t" else {
        throw Malformed(reason: "'\(line.prefix(80))' instead of a field")
      }
      let value = line[line.index(after: colon)...].drop { $0 == " " || $0 == "\t" }
      let end = value.lastIndex { $0 != " " && $0 != "\t" }.map(value.index(after:)) ?? value.startIndex
      fields.append((line[..<colon].lowercased(), String(value[..<end])))
    }
    isPersistent = true
    framing = .length(0)
    let connection = value(of: "connection")?.lowercased() ?? ""
    isPersistent = words[0] == "HTTP/1.1" ? !connection.contains("close") : connection.contains("keep-alive")
    framing = try readFraming()
  }

  private func readFraming() throws(Malformed) -> Framing {
    if let coding = value(of: "transfer-encoding") {
      guard coding.lowercased() == "chunked" else { throw Malformed(reason: "the transfer coding '\(coding)'") }
      return .chunked
    }
    // 1xx, 204 and 304 have no body whatever the fields say.
    if status < 200 || status == 204 || status == 304 { return .length(0) }
    let lengths = Set(fields.filter { $0.name == "content-length" }.map(\.value))
    guard lengths.count == 1, let text = lengths.first, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
      let length = Int64(text)
    else {
      throw Malformed(reason: lengths.isEmpty ? "no Content-Length" : "Content-Length \(lengths.sorted())")
    }
    return .length(length)
  }

  /// The first field of that name.
  package func value(of name: String) -> String? {
    fields.first { $0.name == name }?.value
  }

  package static func == (left: HTTPResponseHead, right: HTTPResponseHead) -> Bool {
    left.status == right.status && left.framing == right.framing && left.isPersistent == right.isPersistent
      && left.fields.elementsEqual(right.fields) { $0 == $1 }
  }

  package func hash(into hasher: inout Hasher) {
    hasher.combine(status)
    hasher.combine(framing)
  }
}
