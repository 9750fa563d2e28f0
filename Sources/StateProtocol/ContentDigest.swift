package import CapsuleFormat

/// The Content-Digest field (RFC 9530, section 2): a dictionary of algorithm and byte sequence,
/// `sha-256=:BASE64:`. Other algorithms may stand beside the one that is looked for.
package enum ContentDigest {
  /// The field's name, in lower case.
  package static let fieldName = "content-digest"

  package static func fieldValue(_ digest: Digest) -> String {
    "sha-256=:" + encode(digest.bytes) + ":"
  }

  /// The SHA-256 digest in a field's value; `nil` where there is none or it is malformed.
  package static func digest(inFieldValue value: String) -> Digest? {
    for member in value.split(separator: ",") {
      let text = member.drop { $0 == " " || $0 == "\t" }
      guard text.hasPrefix("sha-256=:") else { continue }
      let rest = text.dropFirst("sha-256=:".count)
      // A member may have parameters behind the closing colon: they are not for us.
      guard let end = rest.firstIndex(of: ":") else { return nil }
      return decode(rest[..<end]).flatMap { Digest(bytes: $0) }
    }
    return nil
  }

  private static let alphabet = Array(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

  /// Base64 with padding (RFC 4648, section 4).
  private static func encode(_ bytes: [UInt8]) -> String {
    var text: [UInt8] = []
    for start in stride(from: 0, to: bytes.count, by: 3) {
      let group = bytes[start..<min(start + 3, bytes.count)]
      let bits = group.enumerated().reduce(UInt32(0)) { $0 | UInt32($1.element) << (16 - 8 * UInt32($1.offset)) }
      for place in 0..<4 {
        text.append(
          place <= group.count ? alphabet[Int(bits >> (18 - 6 * UInt32(place)) & 0x3F)] : UInt8(ascii: "="))
      }
    }
    return String(decoding: text, as: UTF8.self)
  }

  private static func decode(_ text: Substring) -> [UInt8]? {
    let characters = Array(text.utf8)
    guard characters.count.isMultiple(of: 4), characters.count <= 64 else { return nil }
    var bytes: [UInt8] = []
    for start in stride(from: 0, to: characters.count, by: 4) {
      let group = characters[start..<start + 4]
      let padding = group.reversed().prefix { $0 == UInt8(ascii: "=") }.count
      guard padding <= 2, padding == 0 || start + 4 == characters.count else { return nil }
      var bits: UInt32 = 0
      for character in group.dropLast(padding) {
        guard let value = alphabet.firstIndex(of: character) else { return nil }
        bits = bits << 6 | UInt32(value)
      }
      bits <<= 6 * UInt32(padding)
      for place in 0..<(3 - padding) { bytes.append(UInt8(truncatingIfNeeded: bits >> (16 - 8 * UInt32(place)))) }
    }
    return bytes
  }
}
