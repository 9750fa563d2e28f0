package import CapsuleFormat
package import StateProtocol

/// The files that modules bring to a node in a state, rendered for it from what is there now.
package struct PlanFiles: Sendable {
  private let registry: Registry
  private let store: ModuleStore
  private let directory: NodeDirectory
  let templates = TemplateCache()
  private let hostKeys: HostKeys
  private let cache: FileCache
  private let siteDirectory: String
  private let port: Int

  package init(
    registry: Registry, store: ModuleStore, hostKeys: HostKeys, cache: FileCache, siteDirectory: String, port: Int
  ) {
    self.registry = registry
    self.store = store
    self.hostKeys = hostKeys
    self.cache = cache
    self.siteDirectory = siteDirectory
    self.port = port
    directory = NodeDirectory(registry: registry)
  }

  /// A module that is active for a node, and at which of its levels.
  package struct Active: Sendable {
    package var module: Module
    package var level: String
  }

  /// One file, and at which levels another module has one of the same path, the earliest first.
  package struct Found: Sendable {
    package var file: ModuleManifest.File
    package var module: Module
    package var level: String
    package var replaced: [String]
  }

  /// What a node would boot now, as scripts find it: `debian-12:7`; empty where its capsule does not exist.
  package func assigned(to node: EffectiveNode) -> String {
    registry.read { view in view.capsules[node.vnfs]?.currentGeneration.map { "\(node.vnfs):\($0.number)" } ?? "" }
  }

  /// The modules of all levels of a node, the nearest level last.
  package func active(state: String, levels: [String]) -> [Active] {
    let named = registry.read { view in
      levels.map { level in (level, view.activeModules("\(state)/\(level)")) }
    }
    if named.allSatisfy({ $0.1.isEmpty }) { return [] }
    let modules = store.modules
    return named.flatMap { level, names in
      names.compactMap { name in modules[name].map { Active(module: $0, level: level) } }
    }
  }

  /// By the same rule as scripts, with the path for the base name.
  package func files(state: String, of active: [Active]) -> [Found] {
    var found: [String: Found] = [:]
    for item in active {
      for file in item.module.manifest.files where file.isFor(state) {
        let before = found[file.path].map { $0.replaced + [$0.level] } ?? []
        found[file.path] = Found(file: file, module: item.module, level: item.level, replaced: before)
      }
    }
    return found.values.sorted { $0.file.step < $1.file.step }
  }

  /// Variables of the node with what modules say of them.
  /// - Throws: `ApplianceError` where a value is none of its variable's type.
  package func variables(of node: EffectiveNode, _ active: [Active]) throws -> Variables {
    var variables = Variables(texts: node.vars)
    for item in active {
      for variable in item.module.manifest.variables {
        variables.declared.insert(variable.name)
        guard let text = node.vars[variable.name] ?? variable.value else { continue }
        guard let value = variable.type.value(text) else {
          throw ApplianceError(
            .refused,
            "The variable \(variable.name) of node \(node.name) is '\(printable(text, 100))', where the module "
              + "\(item.module.name) takes \(variable.type.allowed): perseid node set var.\(variable.name) VALUE "
              + "\(node.name), or for its group.")
        }
        variables.values[variable.name] = value
        variables.texts[variable.name] = variable.type.words(text)
        if node.vars[variable.name] == nil { variables.defaultedBy[variable.name] = item.module.name }
      }
    }
    for (name, text) in node.vars where variables.values[name] == nil { variables.values[name] = .text(text) }
    return variables
  }

  package struct Variables: Sendable {
    /// As scripts find them.
    package var texts: [String: String]
    /// As templates find them.
    package var values: [String: VariableType.Value] = [:]
    package var declared: Set<String> = []
    /// Modules whose default holds.
    package var defaultedBy: [String: String] = [:]
  }

  /// - Returns: The steps with their contents.
  /// - Throws: `ApplianceError` where a file cannot be made for this node.
  package func steps(
    for subject: PlanMaker.Subject, _ active: [Active], _ variables: Variables,
    add: (_ content: [UInt8]) throws -> (digest: Digest, length: Int64)
  ) throws -> [Step] {
    try files(state: subject.state, of: active).compactMap { found in
      guard let content = try content(of: found, subject, variables) else { return nil }
      let added = try add(content)
      return Step(
        name: found.file.step, kind: .file, level: found.level, length: added.length, digest: added.digest,
        onFailure: .goOn, path: found.file.path, mode: found.file.mode, owner: found.file.owner,
        group: found.file.group)
    }
  }

  /// `nil` for a file that may be left out, and has to be.
  private func content(
    of found: Found, _ subject: PlanMaker.Subject, _ variables: Variables
  ) throws -> [UInt8]? {
    switch found.file.source {
    case .file(let path): return found.module.files[path]
    case .template(let path):
      guard let template = found.module.templates[path] else { return nil }
      let context = TemplateContext(
        subject: subject, variables: variables.values, declared: variables.declared, port: port,
        directory: directory)
      let key = "\(found.module.identity)/\(path)"
      if found.file.isOptional { return try? templates.render(template, key: key, context) }
      return try templates.render(template, key: key, context)
    case .hostKey(let isPublic):
      let pair = try hostKeys.pair(of: subject.node.name)
      return isPublic ? pair.publicKey : pair.privateKey
    case .site(let name):
      let path = "\(siteDirectory)/\(found.module.name)/\(name)"
      do {
        return try cache.read(path, limit: Module.sizeLimit)
      } catch .missing {
        if found.file.isOptional { return nil }
        throw ApplianceError(
          .refused,
          "The module \(found.module.name) brings \(found.file.path) from the file \(path), which is not there. "
            + "Put it there, or deactivate the module.")
      } catch .tooLarge(let bytes) {
        throw ApplianceError(
          .refused, "The file \(path) has \(bytes) bytes, where at most \(Module.sizeLimit) are delivered.")
      } catch {
        throw ApplianceError(.failed, "The file \(path) cannot be read. Check its kind and permissions.")
      }
    }
  }
}
