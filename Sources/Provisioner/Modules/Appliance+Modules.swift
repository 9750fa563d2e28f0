import CapsuleFormat
import ConfigurationFile
import FoundationEssentials

extension Appliance {
  package func modules() -> [ModuleView] {
    registry.read { $0.modules.values.sorted { $0.name < $1.name } }.compactMap(view)
  }

  package func module(_ name: String) throws -> ModuleView {
    let record = registry.read { $0.modules[name] }
    guard let record, let view = view(record) else { throw Self.noModule(name) }
    return view
  }

  package func moduleStates() -> [ModuleStateView] {
    var states: [String: [String: [String]]] = [:]
    for record in registry.read({ $0.modules.values.sorted { $0.name < $1.name } }) {
      for role in record.active.compactMap(ModuleRole.init) {
        states[role.state, default: [:]][role.level, default: []].append(record.name)
      }
    }
    return states.sorted { $0.key < $1.key }.map { state, levels in
      ModuleStateView(
        state: state,
        roles: levels.sorted { $0.key < $1.key }.map { ModuleStateView.Role(level: $0.key, modules: $0.value) })
    }
  }

  /// Takes a module in, or a new version in place of the one there is. Everything is looked over first.
  package func importModule(_ request: ImportModule) async throws -> ModuleView {
    let source = request.source
    let bundle: FileBundle
    guard let archive = Data(base64Encoded: request.archive) else {
      throw ApplianceError(.invalid, "archive: this is no base64.")
    }
    do {
      bundle = try FileBundle(decoding: [UInt8](archive))
    } catch {
      throw ApplianceError(
        .refused,
        "The module \(printable(source, 200)) cannot be imported: its archive is damaged or not fit: \(error).")
    }
    let module = try Module(bundle, source: source, identity: ModuleStore.identity(bundle))
    return try await changingModules {
      let old = registry.read { $0.modules[module.name] }
      let active = (old?.active ?? []).compactMap(ModuleRole.init)
      for role in active { try checkConflicts(module, role, activeRoles) }
      for role in active where !module.isFor(role.state) {
        throw ApplianceError(
          .refused,
          "This version of \(module.name) has nothing for the state \(role.state), where it is active at \(role). "
            + "Deactivate it there first: perseid module deactivate \(module.name) \(role).")
      }
      let types = Dictionary(module.manifest.variables.map { ($0.name, $0.type) }) { first, _ in first }
      var record = ModuleRecord(
        name: module.name, version: module.manifest.version, imported: .now, variables: types)
      record.active = old?.active ?? []
      let new = record
      let who = Changer.name
      try await registry.update { view in
        let made = RegistryView.Made(what: "module \(new.name)", action: "import", after: new.version)
        return ([try .put(RecordKey.module + new.name, new)] + (try view.records(of: [made], by: who, at: .now)), ())
      }
      try moduleStore.install(module, bundle) { try relinkModules() }
      return try self.module(module.name)
    }
  }

  /// - Parameter roles: None: the roles that the module names itself.
  package func activateModule(_ name: String, roles: [String]) async throws -> ModuleChangeView {
    guard let module = moduleStore.module(name) else { throw Self.noModule(name) }
    let wanted = roles.isEmpty ? module.manifest.roles : try roles.map(ModuleRole.parse)
    guard !wanted.isEmpty else {
      throw ApplianceError(
        .invalid, "The module \(name) does not say where it is to be active: name \(ModuleRole.allowed).")
    }
    return try await changingModules {
      var warnings: [String] = []
      let active = registry.read { $0.modules[name]?.active ?? [] }
      let new = Set(wanted.map(\.description)).subtracting(active).sorted().compactMap(ModuleRole.init)
      for role in new {
        guard module.isFor(role.state) else {
          let states = module.states.joined(separator: ", ")
          throw ApplianceError(
            .refused, "The module \(name) has no script and no file for the state \(role.state); it is for \(states).")
        }
        if let warning = try checkLevel(role) { warnings.append(warning) }
        try checkConflicts(module, role, activeRoles)
      }
      let now = try await setActive(name) { ($0 + new.map(\.description)).sorted() }
      return ModuleChangeView(name: name, changed: new.map(\.description), active: now, warnings: warnings)
    }
  }

  /// - Parameter roles: None: wherever it is active.
  package func deactivateModule(_ name: String, roles: [String]) async throws -> ModuleChangeView {
    let wanted = try roles.map { try ModuleRole.parse($0).description }
    return try await changingModules {
      guard let active = registry.read({ $0.modules[name]?.active }) else { throw Self.noModule(name) }
      if let role = wanted.first(where: { !active.contains($0) }) {
        let places = active.isEmpty ? "nowhere" : "at " + active.joined(separator: ", ")
        throw ApplianceError(.notFound, "The module \(name) is not active at \(role); it is active \(places).")
      }
      let gone = wanted.isEmpty ? active : wanted
      let now = try await setActive(name) { active in active.filter { !gone.contains($0) } }
      return ModuleChangeView(name: name, changed: gone.sorted(), active: now, warnings: [])
    }
  }

  /// Refused while it is active.
  package func deleteModule(_ name: String) async throws -> ModuleView {
    try await changingModules {
      let view = try module(name)
      guard view.active.isEmpty else {
        throw ApplianceError(
          .refused,
          "The module \(name) is active at \(view.active.joined(separator: ", ")). Deactivate it first: "
            + "perseid module deactivate \(name).")
      }
      let who = Changer.name
      try await registry.update { view in
        let made = RegistryView.Made(what: "module \(name)", action: "delete")
        return ([.delete(RecordKey.module + name)] + (try view.records(of: [made], by: who, at: .now)), ())
      }
      try moduleStore.remove(name)
      return view
    }
  }

  /// Makes the links of all active modules what they are to be: at the start too, after a power cut.
  func relinkModules() throws {
    let links = ModuleLinks(nodescripts: configuration.paths.nodescripts)
    var wanted: [String: String] = [:]
    for record in registry.read({ Array($0.modules.values) }) {
      guard let module = moduleStore.module(record.name) else { continue }
      for role in record.active.compactMap(ModuleRole.init) {
        for link in links.links(of: module, at: role) { wanted[link.path] = link.target }
      }
    }
    try links.set(wanted)
  }

  /// One change of modules at a time.
  func changingModules<Value>(_ body: () async throws -> Value) async throws -> Value {
    await moduleGate.enter()
    defer { moduleGate.leave() }
    return try await body()
  }

  private func setActive(_ name: String, _ change: @escaping @Sendable ([String]) -> [String]) async throws -> [String]
  {
    let who = Changer.name
    let active = try await registry.update { view in
      guard var record = view.modules[name] else { throw Self.noModule(name) }
      let before = record.active
      record.active = change(before)
      if record.active == before { return ([], before) }
      let made = RegistryView.Made(
        what: "module \(name)", action: "set", key: "active", before: before.joined(separator: " "),
        after: record.active.joined(separator: " "))
      let changes = [try Change.put(RecordKey.module + name, record)]
      return (changes + (try view.records(of: [made], by: who, at: .now)), record.active)
    }
    try moduleStore.changing { try relinkModules() }
    return active
  }

  private static func noModule(_ name: String) -> ApplianceError {
    ApplianceError(
      .notFound,
      "There is no module '\(printable(name, 64))'. perseid module list shows those there are; import it first.")
  }

  /// Where each module is active.
  private var activeRoles: [String: [ModuleRole]] {
    registry.read { $0.modules.mapValues { $0.active.compactMap(ModuleRole.init) } }
  }

  /// Where modules are to be active as a file says, once all of it can be.
  /// - Throws: `ApplianceError` with file, line and key.
  func activations(_ wanted: [RegistryFile.Activation]) throws -> [String: [ModuleRole]] {
    let active = Dictionary(wanted.map { ($0.module, $0.roles) }) { first, _ in first }
    for activation in wanted where !activation.roles.isEmpty {
      func refused(_ words: String) -> ApplianceError {
        ApplianceError(.invalid, "\(activation.section.error("active", words))")
      }
      guard let module = moduleStore.module(activation.module) else {
        throw refused(
          "there is no module '\(activation.module)' here: perseid module import it, then import this file again.")
      }
      for role in activation.roles {
        guard module.isFor(role.state) else {
          throw refused(
            "found \(role), allowed are states that the module has something for: "
              + module.states.joined(separator: ", ") + ".")
        }
        do {
          try checkConflicts(module, role, active)
        } catch let error as ApplianceError {
          throw refused(error.message)
        }
      }
    }
    return active
  }

  /// - Returns: A warning, where the level may come to be.
  private func checkLevel(_ role: ModuleRole) throws -> String? {
    let parts = role.level.split(separator: "/").map(String.init)
    guard parts.count == 2 else { return nil }
    let defaults = registry.defaults
    switch parts[0] {
    case "vnfs":
      guard registry.read({ $0.capsules[parts[1]] == nil }) else { return nil }
      throw ApplianceError(
        .notFound, "There is no capsule '\(parts[1])' for \(role). perseid vnfs list shows those there are.")
    case "node":
      guard registry.read({ $0.node(named: parts[1]) == nil }) else { return nil }
      throw ApplianceError(
        .notFound, "There is no node '\(parts[1])' for \(role). perseid node list shows those there are.")
    default:
      let isEmpty = registry.read { view in !view.nodes.values.contains { $0.groups(defaults).contains(parts[1]) } }
      return isEmpty ? "No node is in the group \(parts[1]) yet." : nil
    }
  }

  /// Refuses what would make one of two modules do nothing without a word.
  /// - Parameter active: Where each module is, or is to be, active.
  private func checkConflicts(_ module: Module, _ role: ModuleRole, _ active: [String: [ModuleRole]]) throws {
    let scripts = Set(module.scripts(in: role.state).map(\.name))
    let files = Set(module.manifest.files.filter { $0.isFor(role.state) }.map(\.path))
    func refused(_ what: String) -> ApplianceError {
      ApplianceError(.refused, "The module \(module.name) cannot be active at \(role): \(what)")
    }
    for (name, roles) in active.sorted(by: { $0.key < $1.key }) where name != module.name && roles.contains(role) {
      guard let other = moduleStore.module(name) else { continue }
      if let script = other.scripts(in: role.state).map(\.name).first(where: scripts.contains) {
        throw refused("\(name), which is active there, has a script \(script) too. Deactivate one of the two.")
      }
      if let file = other.manifest.files.first(where: { $0.isFor(role.state) && files.contains($0.path) }) {
        throw refused("\(name), which is active there, brings \(file.path) too. Deactivate one of the two.")
      }
    }
    for other in moduleStore.modules.values.sorted(by: { $0.name < $1.name }) where other.name != module.name {
      guard active[other.name]?.isEmpty == false else { continue }
      for variable in module.manifest.variables {
        guard let theirs = other.manifest.variables.first(where: { $0.name == variable.name }) else { continue }
        if theirs.type != variable.type || theirs.value != variable.value {
          throw refused(
            "its variable \(variable.name) has another type or default in the module \(other.name), which is active.")
        }
      }
    }
    let links = ModuleLinks(nodescripts: configuration.paths.nodescripts)
    if let path = links.inTheWay(of: module, at: role).first {
      throw refused("the file \(path) has the base name of one of its scripts. Move it away.")
    }
  }

  private func view(_ record: ModuleRecord) -> ModuleView? {
    guard let module = moduleStore.module(record.name) else { return nil }
    let manifest = module.manifest
    return ModuleView(
      name: record.name, version: manifest.version, description: manifest.description, imported: record.imported,
      active: record.active, roles: manifest.roles.map(\.description), states: module.states,
      scripts: module.scripts.values.flatMap { $0.map(\.path) }.sorted(),
      files: manifest.files.map { file in
        ModuleView.File(
          path: file.path, source: file.source.words, owner: "\(file.owner):\(file.group)",
          mode: "0" + String(file.mode, radix: 8), states: file.states)
      },
      variables: manifest.variables.map {
        ModuleView.Variable(name: $0.name, type: $0.type, value: $0.value, description: $0.description)
      })
  }
}

extension ModuleManifest.File.Source {
  var words: String {
    switch self {
    case .template(let path): "template \(path)"
    case .file(let path): "file \(path)"
    case .site(let name): "site \(name)"
    case .hostKey(let isPublic): isPublic ? "hostKey public" : "hostKey private"
    }
  }
}
