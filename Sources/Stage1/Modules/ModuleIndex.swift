/// What depmod(8) wrote about a kernel's modules: which there are, what each needs first, and for which
/// devices each is.
package struct ModuleIndex: Sendable {
  /// modules.dep: a module's file and the modules it needs.
  private var files: [ModuleName: String] = [:]
  private var needs: [ModuleName: [ModuleName]] = [:]
  /// modules.softdep: what should be there before (`pre:`) and after (`post:`).
  private var before: [ModuleName: [ModuleName]] = [:]
  private var after: [ModuleName: [ModuleName]] = [:]
  private var builtIn: Set<ModuleName> = []
  /// modules.alias, by what stands before the first colon: `pci`, `usb`.
  private var aliases: [ArraySlice<UInt8>: [(pattern: ArraySlice<UInt8>, module: ModuleName)]] = [:]
  private var plainAliases: [ModuleName: [ModuleName]] = [:]

  /// - Parameters: The files' contents; an absent one is empty.
  package init(dependencies: [UInt8], aliases: [UInt8], builtIn: [UInt8], softDependencies: [UInt8]) {
    for line in Self.lines(dependencies) {
      guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { continue }
      let name = ModuleName(path: line[..<colon])
      files[name] = String(decoding: line[..<colon], as: UTF8.self)
      needs[name] = line[(colon + 1)...].split(separator: UInt8(ascii: " ")).map { ModuleName(path: $0) }
    }
    for line in Self.lines(builtIn) { self.builtIn.insert(ModuleName(path: line)) }
    for line in Self.lines(softDependencies) { readSoftDependency(line) }
    readAliases(aliases)
  }

  private static func lines(_ bytes: [UInt8]) -> [ArraySlice<UInt8>] {
    bytes.split(separator: 0x0A).filter { $0.first != UInt8(ascii: "#") }
  }

  /// `softdep NAME pre: A B post: C`
  private mutating func readSoftDependency(_ line: ArraySlice<UInt8>) {
    let words = line.split(separator: UInt8(ascii: " ")).map { String(decoding: $0, as: UTF8.self) }
    guard words.count > 2, words[0] == "softdep" else { return }
    let name = ModuleName(words[1])
    var isAfter = false
    for word in words.dropFirst(2) {
      switch word {
      case "pre:": isAfter = false
      case "post:": isAfter = true
      default:
        let other = ModuleName(word)
        if isAfter { after[name, default: []].append(other) } else { before[name, default: []].append(other) }
      }
    }
  }

  /// `alias PATTERN NAME`, by the ten thousands: bytes, no strings.
  private mutating func readAliases(_ bytes: [UInt8]) {
    for line in bytes.split(separator: 0x0A) {
      let words = line.split(separator: 0x20, maxSplits: 2)
      guard words.count == 3, words[0].elementsEqual("alias".utf8) else { continue }
      let module = ModuleName(bytes: words[2])
      if let colon = words[1].firstIndex(of: UInt8(ascii: ":")) {
        aliases[words[1][..<colon], default: []].append((words[1], module))
      } else {
        plainAliases[ModuleName(bytes: words[1]), default: []].append(module)
      }
    }
  }

  /// The modules for a device, in the file's order.
  /// - Parameter modalias: As the device's file in /sys has it.
  package func modules(for modalias: String) -> [ModuleName] {
    let text = Array(modalias.utf8)[...]
    guard let colon = text.firstIndex(of: UInt8(ascii: ":")) else { return [] }
    var found: [ModuleName] = []
    for (pattern, module) in aliases[text[..<colon]] ?? [] where !found.contains(module) {
      if AliasPattern.matches(pattern, text) { found.append(module) }
    }
    return found
  }

  package func isBuiltIn(_ name: ModuleName) -> Bool { builtIn.contains(name) }

  /// The file of a module, relative to the kernel's module directory; `nil` where there is none.
  package func file(of name: ModuleName) -> String? { files[name] }

  /// A module and all it needs, each after what it needs itself; built-in and unknown ones left out,
  /// except the module itself where it is unknown: that is for the loader to say.
  package func closure(of name: ModuleName) -> [ModuleName] {
    var order: [ModuleName] = []
    var seen: Set<ModuleName> = []
    // Depth first with a stack of our own: files made by others may be circular or deep.
    var stack: [(name: ModuleName, isDone: Bool)] = [(name, false)]
    while let top = stack.popLast() {
      if top.isDone {
        order.append(top.name)
        continue
      }
      guard !builtIn.contains(top.name), files[top.name] != nil || top.name == name, seen.insert(top.name).inserted
      else { continue }
      for other in after[top.name] ?? [] { stack.append((other, false)) }
      stack.append((top.name, true))
      for other in ((before[top.name] ?? []) + (needs[top.name] ?? []).reversed()).reversed() {
        stack.append((other, false))
      }
    }
    return order
  }

  /// What a plain name stands for: itself, or the modules that have it as an alias (`net-pf-17`).
  package func modules(named name: String) -> [ModuleName] {
    let name = ModuleName(name)
    if files[name] != nil || builtIn.contains(name) { return [name] }
    return plainAliases[name] ?? []
  }
}
