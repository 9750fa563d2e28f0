/// The list of domains to look names up in, option 119 (RFC 3397), in the encoding of DNS names
/// (RFC 1035, section 3.1).
package enum DomainSearch {
  /// The option's bytes. Written without compression, which every reader understands.
  /// - Parameter domains: Names of labels of 1 to 63 bytes; one that is anything else is left out.
  package static func encode(_ domains: [String]) -> [UInt8] {
    domains.flatMap { domain -> [UInt8] in
      let labels = domain.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
      guard domain.utf8.count <= 253, labels.allSatisfy({ (1...63).contains($0.count) }) else { return [] }
      return labels.flatMap { [UInt8($0.count)] + $0 } + [0]
    }
  }

  /// Reads the option, compressed or not (RFC 1035, section 4.1.4).
  ///
  /// A pointer may only go back: to a place before the piece of the name that it ends. So every
  /// name ends, and one that is longer than 255 bytes is refused on the way.
  /// - Returns: `nil` where the bytes are not a list of whole names of letters, digits, `-` and `_`.
  package static func decode(_ option: ArraySlice<UInt8>) -> [String]? {
    let bytes = Array(option)
    var domains: [String] = []
    var index = 0
    while index < bytes.count {
      guard let (domain, next) = name(in: bytes, at: index) else { return nil }
      domains.append(domain)
      index = next
    }
    return domains
  }

  private static func name(in bytes: [UInt8], at start: Int) -> (String, next: Int)? {
    var text: [UInt8] = []
    var index = start
    // Where this piece of the name begins: pointers in it go to places before.
    var piece = start
    var next: Int?
    while index < bytes.count {
      let length = Int(bytes[index])
      if length == 0 {
        guard !text.isEmpty else { return nil }
        return (String(decoding: text, as: UTF8.self), next ?? index + 1)
      }
      if length >= 0xC0 {
        guard index + 1 < bytes.count else { return nil }
        let target = (length & 0x3F) << 8 | Int(bytes[index + 1])
        guard target < piece else { return nil }
        if next == nil { next = index + 2 }
        index = target
        piece = target
        continue
      }
      guard length < 64, index + 1 + length <= bytes.count else { return nil }
      let label = bytes[index + 1..<index + 1 + length]
      guard text.count + 1 + length <= 253, label.allSatisfy(isHostCharacter) else { return nil }
      if !text.isEmpty { text.append(UInt8(ascii: ".")) }
      text.append(contentsOf: label)
      index += 1 + length
    }
    return nil
  }

  private static func isHostCharacter(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
      true
    default: false
    }
  }
}
