import CapsuleFormat
import ConfigurationFile

extension CapsuleSettings {
  /// Largest file that is read, in bytes.
  static let sizeLimit = 1 << 20

  /// - Parameter file: For messages.
  /// - Throws: `ConfigurationError` with key, line, what was found and what is allowed.
  package static func parse(yaml: String, file: String) throws -> CapsuleSettings {
    var settings = CapsuleSettings()
    guard let node = try YAMLSection.compose(yaml, file: file) else { return settings }
    let root = try YAMLSection(
      node, file: file, path: "",
      allowed: [
        "name", "version", "architecture", "kernel", "kernelArgs", "modules", "firmware", "root", "nodescripts",
        "hooks", "hookSeconds", "livesync",
      ])
    for key in root.keys { settings.lines[key] = root.line(of: key) }
    settings.name = try root.value("name", allowed: CapsuleName.allowed) { CapsuleName.isValid($0) ? $0 : nil }
    let version = "printable text of at most 128 bytes without blanks"
    settings.version = try root.value("version", allowed: version) { text in
      text.utf8.count <= 128 && text.utf8.allSatisfy { (0x21...0x7E).contains($0) } ? text : nil
    }
    settings.architecture = try root.value("architecture", allowed: "amd64 or arm64") { text in
      ["amd64", "arm64"].contains(text) ? text : nil
    }
    settings.kernel = try root.value(
      "kernel", allowed: "the release of a kernel in the tree, such as 6.1.0-37-amd64", name(limit: 128))
    let words = try root.list("kernelArgs", allowed: kernelWords, kernelArguments) ?? []
    settings.kernelArguments = words.joined(separator: " ")
    settings.modules = try selection(
      root, "modules", "the name of a kernel module such as nvme_tcp, or a list of such names", name(limit: 64))
    settings.firmware = try selection(
      root, "firmware", "a file or directory below the firmware directory, such as amdgpu, or a list of such paths",
      pathInTree)
    settings.rootModes = try rootModes(root)
    let path = "an absolute path in the tree"
    settings.nodescripts = try root.value("nodescripts", allowed: path, absolutePath) ?? settings.nodescripts
    if let section = try root.section("hooks", allowed: Hook.allCases.map(\.rawValue)) {
      for hook in Hook.allCases {
        settings.hooks[hook] = try section.value(hook.rawValue, allowed: path, absolutePath)
        settings.lines["hooks.\(hook.rawValue)"] = section.line(of: hook.rawValue)
      }
    }
    settings.hookSeconds = try root.integer("hookSeconds", 1...86400, unit: "seconds") ?? settings.hookSeconds
    if let section = try root.section("livesync", allowed: ["skip"]) {
      let words = "an absolute path in the tree, with * and ? where names differ, or a list of them"
      settings.livesyncSkip =
        try section.list("skip", allowed: words) { text in
          text.hasPrefix("/") && text.utf8.count <= 4096 && !text.utf8.contains(0) ? text : nil
        } ?? []
    }
    return settings
  }

  private static let kernelWords =
    "words for the kernel command line, or a list of them, together at most 1024 bytes and none of those that are "
    + "the appliance's own (perseid.*, BOOTIF=, initrd=)"

  /// - Returns: The words with one blank between them.
  private static func kernelArguments(_ text: String) -> String? {
    let words = text.split(separator: " ")
    let own = ["perseid.", "BOOTIF=", "initrd="]
    guard text.utf8.count <= 1024, text.utf8.allSatisfy({ (0x20...0x7E).contains($0) }),
      !words.contains(where: { word in own.contains { word.hasPrefix($0) } })
    else { return nil }
    return words.joined(separator: " ")
  }

  private static func name(limit: Int) -> (String) -> String? {
    { text in
      text.utf8.count <= limit && text.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "/") }
        ? text : nil
    }
  }

  private static func pathInTree(_ text: String) -> String? {
    guard let path = TreePath(text), !path.isRoot else { return nil }
    return path.description
  }

  private static func absolutePath(_ text: String) -> String? {
    text.hasPrefix("/") ? pathInTree(String(text.drop { $0 == "/" })) : nil
  }

  private static func selection(
    _ root: YAMLSection, _ key: String, _ allowed: String, _ parse: (String) -> String?
  ) throws -> Selection {
    guard let section = try root.section(key, allowed: ["add", "omit"]) else { return Selection() }
    return Selection(
      add: try section.list("add", allowed: allowed, parse) ?? [],
      omit: try section.list("omit", allowed: allowed, parse) ?? [])
  }

  private static func rootModes(_ root: YAMLSection) throws -> [RootMode]? {
    let all = RootMode.allCases.map(\.rawValue).joined(separator: ", ")
    guard let section = try root.section("root", allowed: ["modes", "default"]) else { return nil }
    let modes = try section.list("modes", allowed: "one of \(all), or a list of them") { RootMode(rawValue: $0) }
    let first = try section.value("default", allowed: "one of \(all)") { RootMode(rawValue: $0) }
    guard let first else { return modes?.reduce(into: []) { if !$0.contains($1) { $0.append($1) } } }
    guard let modes else { return [first] + RootMode.allCases.filter { $0 != first } }
    guard modes.contains(first) else {
      throw section.error("default", "found '\(first.rawValue)', allowed is one of those under modes.")
    }
    return [first] + modes.reduce(into: []) { if $1 != first, !$0.contains($1) { $0.append($1) } }
  }
}
