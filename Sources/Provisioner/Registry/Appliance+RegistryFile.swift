/// What `registry export` answers.
package struct RegistryText: Hashable, Sendable, Codable {
  /// YAML.
  package var text: String
}

/// What `registry import` is given.
package struct ImportRegistry: Hashable, Sendable, Codable {
  /// Its name, for messages.
  package var file: String
  /// YAML.
  package var text: String
  /// Whether to say what would be, and to change nothing.
  package var check: Bool?

  package init(file: String, text: String, check: Bool? = nil) {
    self.file = file
    self.text = text
    self.check = check
  }
}

/// What an import did, or what it would do.
package struct ImportView: Hashable, Sendable, Codable {
  package var nodes: Int
  package var groups: Int
  /// Capsules that nodes or groups are assigned and that are not there.
  package var missingCapsules: [String]
  package var nodeChanges: Difference
  package var groupChanges: Difference
  /// Modules that are active elsewhere than before.
  package var moduleChanges: [String]

  /// By names.
  package struct Difference: Hashable, Sendable, Codable {
    package var added: [String]
    package var changed: [String]
    package var removed: [String]

    fileprivate init<Value: Equatable>(from old: [String: Value], to new: [(String, Value)]) {
      let new = Dictionary(new) { first, _ in first }
      added = new.keys.filter { old[$0] == nil }.sorted()
      changed = new.keys.filter { name in old[name] != nil && old[name] != new[name] }.sorted()
      removed = old.keys.filter { new[$0] == nil }.sorted()
    }
  }
}

extension Appliance {
  /// The registry as YAML: groups, nodes, where modules are active, and which capsules there are.
  package func exportRegistry() throws -> RegistryText {
    let (nodes, groups, modules, capsules) = registry.read { view in
      let modules = view.modules.values.map { module in
        var module = module
        // What was meant for a node that is gone is no setting of this cluster.
        module.active.removeAll { ModuleRole($0)?.node.map { view.node(named: $0) == nil } ?? false }
        return module
      }
      return (Array(view.nodes.values), Array(view.groups.values), modules, Array(view.capsules.values))
    }
    return RegistryText(
      text: try RegistryFile.text(nodes: nodes, groups: groups, modules: modules, capsules: capsules))
  }

  /// Makes the registry what a file says: all of it, or nothing where any of it cannot be.
  ///
  /// What is known of nodes that stay (boots, status) stays.
  package func importRegistry(_ request: ImportRegistry) async throws -> ImportView {
    let now = Timestamp.now
    let who = Changer.name
    let content = try RegistryFile.read(request.text, file: String(request.file.prefix(256)), now: now)
    let (view, gone) = try await changingModules {
      let active = try content.activations.map(activations)
      let isCheck = request.check == true
      let done = try await importRegistry(
        content.nodes, content.groups, active, by: who, at: now, onlyChecking: isCheck)
      if active != nil && !isCheck { try moduleStore.changing { try relinkModules() } }
      return done
    }
    for node in gone {
      ledger.forget(node.macs)
      board.forget(node.name)
      try await timeline.forget(node.name)
    }
    return view
  }

  /// - Parameter active: Where each module is to be active; `nil` where that stays as it is.
  /// - Returns: What was done, or would be; and the nodes that have gone.
  private func importRegistry(
    _ nodes: [Node], _ groups: [Group], _ active: [String: [ModuleRole]]?, by who: String, at now: Timestamp,
    onlyChecking isCheck: Bool
  ) async throws -> (ImportView, gone: [Node]) {
    try await registry.update { view in
      let nodes = nodes.map { node -> Node in
        // A file need not say since when there is a node: one that stays is as old as it is.
        guard node.created == now, let old = view.node(named: node.name) else { return node }
        var node = node
        node.created = old.created
        return node
      }
      // First all that goes, then all that comes: a card may have moved from one node to another.
      var changes: [Change] = []
      let names = Set(nodes.map(\.name))
      let gone = view.nodes.values.filter { !names.contains($0.name) }.sorted { $0.name < $1.name }
      for node in view.nodes.values { changes += try Registry.changes(from: node, to: nil) }
      for node in gone {
        changes += [.delete(RecordKey.status + node.name), .delete(RecordKey.facts + node.name)]
        if view.livesyncs[node.name] != nil { changes.append(.delete(RecordKey.livesync + node.name)) }
        changes += view.boots(of: node.name).map { .delete(RecordKey.boot + $0.id) }
      }
      for node in nodes { changes += try Registry.changes(from: nil, to: node) }
      let groupNames = Set(groups.map(\.name))
      changes += view.groups.keys.filter { !groupNames.contains($0) }.map { .delete(RecordKey.group + $0) }
      changes += try groups.map { try .put(RecordKey.group + $0.name, $0) }
      var changedModules: [String] = []
      if let active {
        for var module in view.modules.values {
          module.active = (active[module.name] ?? []).map(\.description)
          guard module != view.modules[module.name] else { continue }
          changes.append(try .put(RecordKey.module + module.name, module))
          changedModules.append(module.name)
        }
      }
      let made = RegistryView.Made(
        what: "registry", action: "import",
        after: "\(nodes.count) nodes, \(groups.count) groups; \(gone.count) nodes removed")
      changes += try view.records(of: [made], by: who, at: now)
      let assigned = Set(
        nodes.compactMap(\.settings.vnfs) + groups.compactMap(\.settings.vnfs)
          + (active ?? [:]).values.joined().compactMap(\.vnfs))
      let answer = ImportView(
        nodes: nodes.count, groups: groups.count,
        missingCapsules: assigned.filter { view.capsules[$0] == nil }.sorted(),
        nodeChanges: ImportView.Difference(from: view.nodes, to: nodes.map { ($0.name, $0) }),
        groupChanges: ImportView.Difference(from: view.groups, to: groups.map { ($0.name, $0) }),
        moduleChanges: changedModules.sorted())
      if isCheck { return ([], (answer, gone: [])) }
      return (changes, (answer, gone: gone))
    }
  }
}
