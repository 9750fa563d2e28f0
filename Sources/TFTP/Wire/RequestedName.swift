/// The name of a file as a client asked for it, and the names it may have meant.
///
/// Firmware mangles names: it takes them from DHCP options without an end and sends what lies behind in memory,
/// writes paths with backslashes, puts slashes in front, or turns everything into upper case.
package struct RequestedName: Hashable, Sendable {
  /// For events and logs: as it came, bytes that are no UTF-8 replaced, nothing that moves a cursor.
  package let original: String
  /// The names to look up, the likeliest first; none where the name cannot mean any file.
  package let candidates: [String]

  /// - Parameter bytes: The name from the request, without its NUL.
  package init(_ bytes: [UInt8]) {
    original = String(decoding: bytes.map { $0 < 0x20 || $0 == 0x7F ? UInt8(ascii: "?") : $0 }, as: UTF8.self)
    // 0xFF is the end of a DHCP packet's options and never part of UTF-8; control characters are in no name.
    let text = bytes.prefix { $0 != 0xFF && $0 >= 0x20 && $0 != 0x7F }
    let parts = text.split { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "\\") }.filter { $0 != [UInt8(ascii: ".")] }
    var joined = Array(parts.joined(separator: [UInt8(ascii: "/")]))
    while joined.last == UInt8(ascii: " ") { joined.removeLast() }
    // Names are looked up, not opened; one that points upwards is nobody's all the same.
    guard !joined.isEmpty, !parts.contains(where: { $0 == [UInt8(ascii: "."), UInt8(ascii: ".")] }) else {
      candidates = []
      return
    }
    let name = String(decoding: joined, as: UTF8.self)
    let lower = String(decoding: lowercased(joined), as: UTF8.self)
    candidates = name == lower ? [name] : [name, lower]
  }
}
