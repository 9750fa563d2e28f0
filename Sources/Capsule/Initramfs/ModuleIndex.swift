/// What depmod wrote down about the modules of one kernel (modules.dep(5), modprobe.d(5)).
struct ModuleIndex: Sendable {
  /// By name, the path below the modules directory as it is in the tree, compressed or not.
  private(set) var paths: [String: String] = [:]
  private var dependencies: [String: [String]] = [:]
  private var softDependencies: [String: [String]] = [:]
  private var aliases: [String: [String]] = [:]
  private var builtIn: Set<String> = []
  private let aliasText: String
  private let softDependencyText: String
  let builtInText: String

  /// From the text of modules.dep and its companions.
  init(dependencies: String, softDependencies: String, aliases: String, builtIn: String) {
    aliasText = aliases
    softDependencyText = softDependencies
    builtInText = builtIn
    for line in dependencies.split(whereSeparator: \.isNewline) {
      // "kernel/fs/fat/vfat.ko: kernel/fs/fat/fat.ko"
      let parts = line.split(separator: ":", maxSplits: 1)
      guard let path = parts.first else { continue }
      let name = Module.name(ofPath: path)
      paths[name] = String(path)
      self.dependencies[name] = parts.dropFirst().flatMap { $0.split(separator: " ").map { Module.name(ofPath: $0) } }
    }
    for line in softDependencies.split(whereSeparator: \.isNewline) {
      // "softdep NAME pre: A B post: C"
      let words = line.split(separator: " ")
      guard words.count > 2, words[0] == "softdep" else { continue }
      let wanted = words.dropFirst(2).filter { !$0.hasSuffix(":") }.map(String.init)
      self.softDependencies[Module.normalized(words[1]), default: []] += wanted
    }
    for line in aliases.split(whereSeparator: \.isNewline) {
      // Only plain names can be meant by a soft dependency; patterns are for devices.
      let words = line.split(separator: " ")
      guard words.count == 3, words[0] == "alias", !words[1].contains("*") else { continue }
      self.aliases[Module.normalized(words[1]), default: []].append(Module.normalized(words[2]))
    }
    for line in builtIn.split(whereSeparator: \.isNewline) { self.builtIn.insert(Module.name(ofPath: line)) }
  }

  /// The modules wanted and all that they need, by name and sorted.
  ///
  /// - Throws: `CapsuleError` with code `noModules` where modules.dep names one that it does not have.
  func closure(of wanted: [String]) throws(CapsuleError) -> [String] {
    var found: Set<String> = []
    var pending = wanted.filter { paths[$0] != nil }
    while let name = pending.popLast() {
      guard found.insert(name).inserted else { continue }
      for dependency in dependencies[name] ?? [] {
        guard paths[dependency] != nil else {
          throw CapsuleError(
            .noModules, "The module \(name) needs \(dependency), which modules.dep does not have",
            remedy: "Run depmod in the tree (chroot TREE depmod RELEASE), and import it again")
        }
        pending.append(dependency)
      }
      for soft in softDependencies[name] ?? [] {
        let normal = Module.normalized(soft)
        // A soft dependency is a module or an alias, and may be missing or built in.
        pending += ([normal] + (aliases[normal] ?? [])).filter { paths[$0] != nil && !builtIn.contains($0) }
      }
    }
    return found.sorted()
  }

  func isBuiltIn(_ name: String) -> Bool { builtIn.contains(name) }

  /// Leaves some out of `names`, and with them what cannot be loaded without them.
  func without(_ omitted: Set<String>, of names: [String]) -> [String] {
    var gone = omitted
    var kept = names.filter { !gone.contains($0) }
    while true {
      let more = kept.filter { (dependencies[$0] ?? []).contains { gone.contains($0) } }
      if more.isEmpty { return kept }
      gone.formUnion(more)
      kept.removeAll { gone.contains($0) }
    }
  }

  /// modules.dep for some of the modules, with the paths of uncompressed files.
  func dependencyText(for names: [String]) -> String {
    names.compactMap { name in
      guard let path = paths[name] else { return nil }
      let needed = (dependencies[name] ?? []).compactMap { paths[$0] }.map { " " + Module.uncompressedPath($0) }
      return Module.uncompressedPath(path) + ":" + needed.joined() + "\n"
    }.joined()
  }

  /// The lines of modules.alias that lead to some of the modules.
  func aliasText(for names: [String]) -> String {
    let names = Set(names)
    return Self.lines(of: aliasText) { words in
      words.count == 3 && words[0] == "alias" && names.contains(Module.normalized(words[2]))
    }
  }

  /// The lines of modules.softdep that are about some of the modules.
  func softDependencyText(for names: [String]) -> String {
    let names = Set(names)
    return Self.lines(of: softDependencyText) { words in
      words.count > 2 && words[0] == "softdep" && names.contains(Module.normalized(words[1]))
    }
  }

  private static func lines(of text: String, where isKept: ([Substring]) -> Bool) -> String {
    text.split(whereSeparator: \.isNewline).filter { isKept($0.split(separator: " ")) }.map { $0 + "\n" }.joined()
  }
}
