import CapsuleFormat

/// What a tree's os-release says (os-release(5)).
struct OSRelease: Sendable {
  private var values: [String: String] = [:]

  init(_ tree: FileTree) throws(CapsuleError) {
    var text = try tree.text("etc/os-release")
    if text == nil { text = try tree.text("usr/lib/os-release") }
    for line in (text ?? "").split(whereSeparator: \.isNewline) {
      let parts = line.split(separator: "=", maxSplits: 1)
      guard parts.count == 2, !line.hasPrefix("#") else { continue }
      var value = parts[1]
      if let quote = value.first, quote == "\"" || quote == "'", value.count >= 2, value.last == quote {
        value = value.dropFirst().dropLast()
      }
      values[String(parts[0])] = String(value)
    }
  }

  var prettyName: String? { values["PRETTY_NAME"] }

  /// `debian-12`, or with the code name where a distribution in the making has no number.
  var capsuleName: String? {
    guard let id = values["ID"] else { return nil }
    guard let version = values["VERSION_ID"] ?? values["VERSION_CODENAME"] else { return id }
    return "\(id)-\(version)"
  }
}

/// The rules for the names of capsules.
package enum CapsuleName {
  /// Lower-case letters, digits, `.`, `_` and `-`, beginning with a letter or digit; at most 64.
  package static func isValid(_ name: String) -> Bool {
    func isPlain(_ byte: UInt8) -> Bool {
      (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }
    guard let first = name.utf8.first, isPlain(first), name.utf8.count <= 64 else { return false }
    return name.utf8.allSatisfy { isPlain($0) || ".-_".utf8.contains($0) }
  }

  static func choose(_ requested: String?, _ release: OSRelease) throws(CapsuleError) -> String {
    guard let name = requested ?? release.capsuleName else {
      throw CapsuleError(
        .badName, "The tree has no os-release file to take a name from", remedy: "Give a name with --name")
    }
    try check(name)
    return name
  }

  static func check(_ name: String) throws(CapsuleError) {
    guard isValid(name) else {
      throw CapsuleError(
        .badName, "'\(name)' cannot be the name of a capsule",
        remedy: "Give one with --name: at most 64 of a-z, 0-9, '.', '_' and '-', the first a letter or digit")
    }
  }
}
