extension Appliance {
  /// Every group: those with settings, and those that nodes are in.
  package func groups() -> [GroupView] {
    let defaults = registry.defaults
    return registry.read { view in
      var counts: [String: Int] = [defaults.group: 0]
      for name in view.groups.keys { counts[name] = 0 }
      for node in view.nodes.values {
        for group in node.groups(defaults) { counts[group, default: 0] += 1 }
      }
      return counts.sorted { $0.key < $1.key }.map { Self.view($0.key, view.groups[$0.key]?.settings, $0.value) }
    }
  }

  private static func view(_ name: String, _ settings: Settings?, _ nodes: Int) -> GroupView {
    GroupView(
      name: name, vnfs: settings?.vnfs, enabled: settings?.enabled, boot: settings?.boot, root: settings?.root,
      kernelArgs: settings?.kernelArgs, description: settings?.description, debug: settings?.debug,
      vars: settings?.vars ?? [:], nodes: nodes)
  }

  package func group(_ name: String) throws -> GroupView {
    guard let group = groups().first(where: { $0.name == name }) else {
      throw ApplianceError(.notFound, "There is no group '\(name)'. perseid group list shows those there are.")
    }
    return group
  }

  /// Sets a key for a group, which comes to be where it is new; an empty value gives it back to the defaults.
  package func setGroup(_ name: String, key: String, value: String) async throws -> [ChangeView] {
    guard NodeName.isValidLabel(name) else { throw NodeKeys.invalid("group", name, NodeKeys.label) }
    let who = Changer.name
    let now = Timestamp.now
    return try await registry.update { view in
      let old = view.groups[name] ?? Group(name: name)
      var new = old
      try NodeKeys.set(key, value, of: &new.settings, in: view)
      let change = ChangeView(
        name: name, key: key, before: NodeKeys.text(key, of: old.settings), after: NodeKeys.text(key, of: new.settings))
      let records = try view.records(of: [change].compactMap { $0.made("group") }, by: who, at: now)
      return ([try .put(RecordKey.group + name, new)] + records, [change])
    }
  }

  /// Refused while nodes are in it.
  package func deleteGroup(_ name: String) async throws -> GroupView {
    let group = try group(name)
    let defaults = registry.defaults
    let who = Changer.name
    let now = Timestamp.now
    try await registry.update { view in
      let members = view.nodes.values.filter { $0.groups(defaults).contains(name) }.map(\.name).sorted()
      guard members.isEmpty else {
        let more = members.count > 10 ? " and \(members.count - 10) more" : ""
        throw ApplianceError(
          .refused,
          "The group \(name) still has nodes: \(members.prefix(10).joined(separator: ", "))\(more). Move them first: "
            + "perseid node set group OTHER @\(name).")
      }
      guard view.groups[name] != nil else { return ([], ()) }
      let made = RegistryView.Made(what: "group \(name)", action: "delete")
      return ([.delete(RecordKey.group + name)] + (try view.records(of: [made], by: who, at: now)), ())
    }
    return group
  }

  package func groupNodes(_ name: String) throws -> [NodeView] { try members(name).map(view) }

  package func groupStatus(_ name: String) throws -> [NodeStatusView] { try members(name).map { status($0) } }

  package func groupSummary() throws -> [GroupSummaryView] {
    var summaries: [String: GroupSummaryView] = [:]
    for group in groups() {
      summaries[group.name] = GroupSummaryView(name: group.name, nodes: group.nodes, states: [:])
    }
    for node in try select([]) {
      let state = status(node).state
      for group in node.groups { summaries[group]?.states[state, default: 0] += 1 }
    }
    return summaries.values.sorted { $0.name < $1.name }
  }

  func members(_ name: String) throws -> [EffectiveNode] {
    _ = try group(name)
    return try select([]).filter { $0.groups.contains(name) }
  }
}
