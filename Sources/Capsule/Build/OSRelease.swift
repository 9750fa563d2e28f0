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

extension CapsuleName {
  /// The person's name for it, else the tree's, else one after its distribution.
  static func choose(
    _ requested: String?, _ settings: CapsuleSettings, _ release: OSRelease
  ) throws(CapsuleError) -> String {
    guard let name = requested ?? settings.name ?? release.capsuleName else {
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
        remedy: "Give one with --name: \(allowed)")
    }
  }
}
