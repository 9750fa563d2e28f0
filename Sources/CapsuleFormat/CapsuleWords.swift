/// The rule for the names of capsules, for whoever builds, registers or assigns one.
package enum CapsuleName {
  /// The rule in words, for messages.
  package static let allowed = "at most 64 of a-z, 0-9, '.', '_' and '-', the first a letter or digit"

  /// Lower-case letters, digits, `.`, `_` and `-`, beginning with a letter or digit; at most 64. So it is a name that
  /// registries take for a repository too.
  package static func isValid(_ name: String) -> Bool {
    guard let first = name.utf8.first, isPlain(first), name.utf8.count <= 64 else { return false }
    return name.utf8.allSatisfy { isPlain($0) || ".-_".utf8.contains($0) }
  }

  private static func isPlain(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
  }
}

/// The rule for the names of nodescripts, wherever they lie.
package enum NodescriptName {
  /// Most bytes of one script.
  package static let sizeLimit = 1 << 20

  /// `10-hostname.server` is `10-hostname`, run on the appliance. `nil` for what is no nodescript: hidden
  /// files, editors' copies, names that do not begin with two digits and a hyphen.
  package static func parse(_ file: String) -> (name: String, isServer: Bool)? {
    let suffix = ".server"
    let isServer = file.hasSuffix(suffix)
    let name = isServer ? String(file.dropLast(suffix.count)) : file
    let bytes = Array(name.utf8)
    let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
    guard bytes.count > 3, bytes.count <= 64, digits.contains(bytes[0]), digits.contains(bytes[1]),
      bytes[2] == UInt8(ascii: "-"), bytes.allSatisfy(isLabelByte), !name.hasSuffix(".bak"),
      !name.hasSuffix(".dpkg-old")
    else { return nil }
    return (name, isServer)
  }

  /// A provisionary state: lower-case letters, digits, `-` and `_`, at most 32, beginning with a letter.
  package static func isValidState(_ name: String) -> Bool {
    let letters = UInt8(ascii: "a")...UInt8(ascii: "z")
    guard (1...32).contains(name.utf8.count), let first = name.utf8.first, letters.contains(first) else { return false }
    return name.utf8.allSatisfy {
      letters.contains($0) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || $0 == UInt8(ascii: "-")
        || $0 == UInt8(ascii: "_")
    }
  }

  private static func isLabelByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
      true
    default: false
    }
  }
}
