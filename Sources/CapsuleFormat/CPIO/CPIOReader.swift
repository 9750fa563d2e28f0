/// What is wrong with a cpio image.
package enum CPIOError: Error, Hashable, CustomStringConvertible {
  case truncated
  case malformed(at: Int)

  package var description: String {
    switch self {
    case .truncated: "the cpio image is truncated"
    case .malformed(let offset): "byte \(offset) of the cpio image should begin an entry, and does not"
    }
  }
}

/// One entry of a cpio image.
package struct CPIOEntry: Hashable, Sendable {
  package var path: String
  /// With the bits of the file's kind.
  package var mode: UInt32
  package var major: UInt32
  package var minor: UInt32
  package var content: ArraySlice<UInt8>

  /// The entries of one uncompressed "newc" image, up to its trailer.
  package static func read(_ image: [UInt8]) throws(CPIOError) -> [CPIOEntry] {
    var entries: [CPIOEntry] = []
    var offset = 0
    while true {
      guard offset + 110 <= image.count else { throw .truncated }
      guard image[offset..<offset + 6].elementsEqual("070701".utf8) else { throw .malformed(at: offset) }
      var fields: [UInt32] = []
      for index in 0..<13 {
        let digits = image[(offset + 6 + 8 * index)..<(offset + 14 + 8 * index)]
        guard digits.allSatisfy({ $0 != UInt8(ascii: "+") && $0 != UInt8(ascii: "-") }),
          let field = UInt32(String(decoding: digits, as: UTF8.self), radix: 16)
        else { throw .malformed(at: offset) }
        fields.append(field)
      }
      let nameLength = Int(fields[11])
      let contentLength = Int(fields[6])
      let nameStart = offset + 110
      guard nameLength > 0, nameLength <= 4096 else { throw .malformed(at: offset) }
      let contentStart = (nameStart + nameLength + 3) / 4 * 4
      guard contentStart + contentLength <= image.count else { throw .truncated }
      let path = String(decoding: image[nameStart..<nameStart + nameLength - 1].prefix { $0 != 0 }, as: UTF8.self)
      if path == "TRAILER!!!" { return entries }
      entries.append(
        CPIOEntry(
          path: path, mode: fields[1], major: fields[9], minor: fields[10],
          content: image[contentStart..<contentStart + contentLength]))
      offset = (contentStart + contentLength + 3) / 4 * 4
    }
  }
}
