import CapsuleFormat
import ConfigurationFile
import Yams

extension Recipe {
  /// - Throws: `CapsuleError` where the file cannot be read, `ConfigurationError` where it cannot be understood.
  package static func load(path: String) throws -> Recipe {
    let bytes = try readFile(path, limit: CapsuleSettings.sizeLimit)
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw ConfigurationError(file: path, line: nil, key: nil, message: "it is not UTF-8 text.")
    }
    return try parse(yaml: text, file: path)
  }

  /// - Throws: `ConfigurationError` with key, line, what was found and what is allowed.
  package static func parse(yaml: String, file: String) throws -> Recipe {
    let keys = ["name", "base", "packages", "files", "commands", "capsule", "stepSeconds"]
    let missing = "found nothing, allowed is one of debian, rpm, source."
    guard let node = try YAMLSection.compose(yaml, file: file) else {
      throw ConfigurationError(file: file, line: nil, key: "base", message: missing)
    }
    let root = try YAMLSection(node, file: file, path: "", allowed: keys)
    guard let section = try root.section("base", allowed: ["debian", "rpm", "source"]) else {
      throw ConfigurationError(file: file, line: root.line, key: "base", message: missing)
    }
    guard section.keys.count == 1 else {
      throw root.error("base", "found \(section.keys.count) of them, allowed is one of debian, rpm, source.")
    }
    let directory = file.lastIndex(of: "/").map { String(file[..<$0]) } ?? "."
    var recipe = Recipe(
      base: try base(section, directory), title: "the recipe \(file)", text: yaml,
      directory: directory.isEmpty ? "/" : directory)
    recipe.name = try root.value("name", allowed: CapsuleName.allowed) { CapsuleName.isValid($0) ? $0 : nil }
    recipe.packages = try root.list("packages", allowed: "the name of a package, or a list of them", word) ?? []
    recipe.commands =
      try root.list("commands", allowed: "a command, or a list of them") { text in
        text.utf8.contains(0) || text.utf8.count > 65536 ? nil : text
      } ?? []
    recipe.files = try files(root)
    recipe.stepSeconds = try root.integer("stepSeconds", 1...86400, unit: "seconds") ?? recipe.stepSeconds
    if let value = node.mapping?["capsule"] {
      let text = try Yams.serialize(node: value)
      // Its keys are checked here, so that a mistake costs no build; lines count from its own first key.
      _ = try CapsuleSettings.parse(yaml: text, file: "\(file), capsule")
      recipe.capsule = text
    }
    return recipe
  }

  /// A word of a command line that no program takes for an option.
  private static func word(_ text: String) -> String? {
    !text.hasPrefix("-") && text.utf8.count <= 1024 && text.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7F } ? text : nil
  }

  /// The address of a repository, as dnf takes it.
  private static func address(_ text: String) -> String? {
    ["http://", "https://", "ftp://", "file:///"].contains(where: text.hasPrefix) ? word(text) : nil
  }

  private static func base(_ section: YAMLSection, _ directory: String) throws -> Base {
    func needed<Value>(_ section: YAMLSection, _ key: String, _ value: Value?, _ allowed: String) throws -> Value {
      guard let value else {
        throw ConfigurationError(
          file: section.file, line: section.line, key: "\(section.path).\(key)",
          message: "found nothing, allowed is \(allowed).")
      }
      return value
    }
    if let debian = try section.section("debian", allowed: ["suite", "mirrors", "components", "variant"]) {
      let suite = "the name of a Debian release such as bookworm"
      var base = Debian(suite: try needed(debian, "suite", try debian.value("suite", allowed: suite, word), suite))
      let mirrors = "the address of a mirror, or a line of sources.list(5), or a list of them"
      base.mirrors =
        try debian.list("mirrors", allowed: mirrors) { text in
          !text.hasPrefix("-") && text.utf8.allSatisfy { (0x20...0x7E).contains($0) } ? text : nil
        } ?? []
      let components = "the name of a component such as main, or a list of them"
      base.components = try debian.list("components", allowed: components, word) ?? base.components
      let variants = ["essential", "apt", "minbase", "important", "standard", "custom", "extract"]
      base.variant =
        try debian.value("variant", allowed: "one of \(variants.joined(separator: ", "))") { text in
          variants.contains(text) ? text : nil
        } ?? base.variant
      return .debian(base)
    }
    if let rpm = try section.section("rpm", allowed: ["release", "repos", "keys", "gpgcheck"]) {
      let release = "a release of the distribution such as 9"
      let repos = "the address of a repository such as https://mirror.example/9/BaseOS/x86_64/os, or a list of them"
      let keys = "a file or an address of a key, or a list of them; or gpgcheck: false, and signatures are not checked"
      var base = RPM(
        release: try needed(rpm, "release", try rpm.value("release", allowed: release, word), release),
        repositories: try needed(rpm, "repos", try rpm.list("repos", allowed: repos, address), repos),
        keys: nil)
      if try rpm.bool("gpgcheck") ?? true {
        base.keys = try needed(rpm, "keys", try rpm.list("keys", allowed: keys, word), keys).map { key in
          if key.contains("://") { return key }
          return key.hasPrefix("/") ? key : "\(directory)/\(key)"
        }
      } else if rpm.has("keys") {
        throw rpm.error("gpgcheck", "found false, and there are keys: allowed is one of the two.")
      }
      if base.repositories.isEmpty { throw rpm.error("repos", "found none, allowed is \(repos).") }
      if base.keys?.isEmpty == true { throw rpm.error("keys", "found none, allowed is \(keys).") }
      return .rpm(base)
    }
    let source = "a path, or the image of a container such as docker://registry/name:tag"
    let value = try section.value("source", allowed: source, word)
    let text = try needed(section, "source", value, source)
    let isPath =
      !text.hasPrefix("/") && !["docker:", "oci:", "oci-archive:", "docker-archive:"].contains(where: text.hasPrefix)
    return .source(isPath ? "\(directory)/\(text)" : text)
  }

  private static func files(_ root: YAMLSection) throws -> [File] {
    try root.sections("files", allowed: ["path", "content", "source", "link", "owner", "mode"]).map { section in
      let place = "an absolute path in the tree"
      let path = try section.value("path", allowed: place) { text in
        text.hasPrefix("/")
          ? TreePath(String(text.drop { $0 == "/" })).flatMap { $0.isRoot ? nil : $0.description } : nil
      }
      guard let path else { throw section.error("path", "found nothing, allowed is \(place).") }
      let given = ["content", "source", "link"].filter(section.has)
      guard given.count == 1 else {
        throw section.error(given.last ?? "content", "found \(given.count) of content, source, link; allowed is one.")
      }
      let content: File.Content
      switch given[0] {
      case "content": content = .text(try section.value("content", allowed: "text") { $0 } ?? "")
      case "source":
        content = .source(
          try section.value("source", allowed: "a path of this host") { $0.utf8.contains(0) ? nil : $0 } ?? "")
      default:
        content = .link(
          try section.value("link", allowed: "the target of a link") { $0.utf8.contains(0) ? nil : $0 } ?? "")
      }
      let owner = try section.value("owner", allowed: "USER:GROUP, by name or number") { text in
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        return parts.count == 2 && parts.allSatisfy({ word(String($0)) != nil && !$0.isEmpty }) ? text : nil
      }
      let mode = try section.value("mode", allowed: "permissions in octal digits, such as \"0644\"") { text in
        UInt32(text, radix: 8).flatMap { $0 <= 0o7777 ? $0 : nil }
      }
      return File(path: path, content: content, owner: owner, mode: mode)
    }
  }
}
