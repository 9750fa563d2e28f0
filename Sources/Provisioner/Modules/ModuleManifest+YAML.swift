import ConfigurationFile

extension ModuleManifest {
  static let sizeLimit = 1 << 18

  /// - Parameter file: For messages.
  /// - Throws: `ConfigurationError` with line, key, what was found and what is allowed.
  package static func parse(yaml: String, file: String) throws -> ModuleManifest {
    guard let node = try YAMLSection.compose(yaml, file: file) else {
      throw ConfigurationError(file: file, line: 1, key: "name", message: "the file is empty; a module has a name.")
    }
    let root = try YAMLSection(
      node, file: file, path: "", allowed: ["name", "version", "description", "roles", "variables", "files"])
    func required<Value>(_ key: String, _ value: Value?) throws -> Value {
      guard let value else { throw root.error(key, "it is missing; a module has one.") }
      return value
    }
    let name = try required("name", try root.value("name", allowed: nameAllowed) { isValid(name: $0) ? $0 : nil })
    let version = try root.value("version", allowed: "printable text of at most 64 bytes without blanks") { text in
      text.utf8.count <= 64 && text.utf8.allSatisfy { (0x21...0x7E).contains($0) } ? text : nil
    }
    let roles = try root.list("roles", allowed: ModuleRole.allowed, ModuleRole.init) ?? []
    return ModuleManifest(
      name: name, version: try required("version", version),
      description: try root.value("description", allowed: line, oneLine) ?? "", roles: roles,
      variables: try variables(root),
      files: try root.sections("files", allowed: fileKeys).map(self.file))
  }

  private static let line = "one line of text, at most 200 bytes"

  private static func oneLine(_ text: String) -> String? {
    text.utf8.count <= 200 && text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F } ? text : nil
  }

  private static func variables(_ root: YAMLSection) throws -> [Variable] {
    guard let all = try root.section("variables", allowed: nil) else { return [] }
    return try all.keys.map { name in
      guard NodeKeys.isVariable(name), !NodeKeys.reservedVariables.contains(name), !TemplateNames.own.contains(name)
      else {
        throw all.error(
          name,
          "it is no name for a variable: letters, digits and underscores, no digit first, none of the appliance's.")
      }
      guard let section = try all.section(name, allowed: ["type", "default", "description"]) else {
        throw all.error(name, "found nothing.")
      }
      let types = VariableType.allCases.map(\.rawValue).joined(separator: ", ")
      let type = try section.value("type", allowed: "one of \(types)") { VariableType(rawValue: $0) } ?? .text
      return Variable(
        name: name, type: type,
        value: try section.value("default", allowed: type.allowed) { type.value($0) == nil ? nil : $0 },
        description: try section.value("description", allowed: line, oneLine) ?? "")
    }
  }

  private static let fileKeys = [
    "path", "template", "file", "site", "hostKey", "mode", "owner", "states", "order", "optional",
  ]

  private static func file(_ section: YAMLSection) throws -> File {
    let path = try section.value("path", allowed: "an absolute path on the node, without .. and at most 512 bytes") {
      isPath($0) ? $0 : nil
    }
    guard let path else { throw section.error("path", "it is missing: where the file goes on the node.") }
    let inModule = "the path of a file in the module, below templates/ or files/"
    let sources: [File.Source?] = [
      try section.value("template", allowed: inModule) { inside($0) }.map(File.Source.template),
      try section.value("file", allowed: inModule) { inside($0) }.map(File.Source.file),
      try section.value("site", allowed: "the name of a file, without /") { text in
        NodeName.isValidLabel(text) ? text : nil
      }.map(File.Source.site),
      try section.value("hostKey", allowed: "private or public") { text in
        text == "private" ? false : text == "public" ? true : nil
      }.map(File.Source.hostKey),
    ]
    let found = sources.compactMap(\.self)
    guard let source = found.first, found.count == 1 else {
      throw section.error("path", "a file has one of template, file, site and hostKey; this one has \(found.count).")
    }
    let mode = try section.value("mode", allowed: "permissions in octal digits, such as 0644") { text in
      UInt32(text, radix: 8).flatMap { $0 <= 0o7777 ? $0 : nil }
    }
    let owner = try section.value("owner", allowed: "USER, or USER:GROUP, by name or number") { text in
      let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
      return parts.count <= 2 && parts.allSatisfy { NodeName.isValidLabel($0) || $0.first == "_" } ? parts : nil
    }
    return File(
      path: path, source: source, mode: mode ?? 0o644, owner: owner?[0] ?? "root",
      group: owner.map { $0.count > 1 ? $0[1] : $0[0] } ?? "root",
      states: try section.list("states", allowed: "the name of a state, or a list of them") { text in
        NodeName.isValidState(text) ? text : nil
      } ?? [],
      order: try section.integer("order", 0...99, unit: "a number") ?? 55,
      isOptional: try section.bool("optional") ?? false)
  }

  private static func isPath(_ text: String) -> Bool {
    text.hasPrefix("/") && text.utf8.count <= 512 && text.utf8.allSatisfy { $0 >= 0x21 && $0 != 0x7F }
      && text.dropFirst().split(separator: "/", omittingEmptySubsequences: false).allSatisfy {
        !["", ".", ".."].contains($0)
      }
  }

  private static func inside(_ text: String) -> String? {
    isPath("/" + text) && (text.hasPrefix("templates/") || text.hasPrefix("files/")) ? text : nil
  }
}
