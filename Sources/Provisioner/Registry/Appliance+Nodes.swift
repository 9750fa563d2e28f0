import DHCP
import NetworkTypes

extension Appliance {
  /// Nodes as a person names them; all for no pattern. In the order of their names.
  /// - Throws: `ApplianceError` with code `notFound` for a name without a node.
  package func select(_ patterns: [String]) throws -> [EffectiveNode] {
    let parsed = try patterns.map { try NodePattern($0) }
    let defaults = registry.defaults
    return try registry.read { view in
      if parsed.isEmpty { return view.nodes.values.sorted { $0.name < $1.name }.map { view.effective($0, defaults) } }
      var found: [String: Node] = [:]
      for pattern in parsed {
        let matches: [Node]
        switch pattern.kind {
        case .names(let names):
          matches = try names.map { name in
            guard let node = view.node(named: name) else {
              throw ApplianceError(.notFound, "There is no node '\(name)'. perseid node list shows those there are.")
            }
            return node
          }
        case .wildcards(let wildcards):
          matches = view.nodes.values.filter { node in wildcards.contains { NodePattern.matches(node.name, $0) } }
        case .group(let group):
          matches = view.nodes.values.filter { node in node.groups(defaults).contains { NodePattern.matches($0, group) }
          }
        }
        guard !matches.isEmpty else {
          throw ApplianceError(.notFound, "No node fits '\(pattern.text)'. perseid node list shows those there are.")
        }
        for node in matches { found[node.name] = node }
      }
      return found.values.sorted { $0.name < $1.name }.map { view.effective($0, defaults) }
    }
  }

  package func nodes(_ patterns: [String]) throws -> [NodeView] {
    try select(patterns).map(view)
  }

  func view(_ effective: EffectiveNode) -> NodeView {
    let node = effective.node
    return NodeView(
      name: node.name, mac: node.macs.first, macs: node.macs, guid: node.ownGUID ?? node.guid,
      clientid: NodeKeys.text("clientid", of: node), address: address(of: effective),
      fixedAddress: node.address, group: effective.group, groups: effective.groups, vnfs: effective.vnfs,
      enabled: effective.enabled, boot: effective.boot, root: rootMode(of: effective), kernelArgs: effective.kernelArgs,
      description: node.settings.description ?? "", debug: effective.debug, vars: effective.vars, created: node.created,
      facts: board.facts(of: node.name),
      held: node.isHeld)
  }

  /// How a node has its root: as is set for it, else as its capsule says.
  func rootMode(of node: EffectiveNode) -> RootMode { node.root ?? capsuleFiles(of: node)?.rootModes.first ?? .ram }

  /// What its capsule is now; `nil` where there is none, or it is not whole.
  func capsuleFiles(of node: EffectiveNode) -> BootFiles? {
    registry.read { $0.capsules[node.vnfs]?.currentGeneration }.flatMap { try? catalog.files(of: $0.digest) }
  }

  func address(of effective: EffectiveNode) -> IPv4Address? {
    let node = effective.node
    let (leased, boot) = registry.read { view in
      (node.macs.firstAnswer { view.leasedAddress(of: $0) }, view.lastBoot(of: node.name))
    }
    let status = board.status(of: node.name)
    // What it says itself in this boot goes first: its address need not be of our lease.
    if let own = status?.address, boot == nil || status?.boot == boot?.id { return own }
    return leased ?? boot?.address ?? status?.address ?? node.address
  }

  package func addNode(_ request: AddNode) async throws -> NodeView {
    let now = Timestamp.now
    let registry = registry
    let who = Changer.name
    let reserved = request.mac.split(separator: ",").first.flatMap { MACAddress(String($0)) }
    defer { if let reserved { registry.release(reserved) } }
    let (name, held) = try await registry.update { view in
      // A machine that is held is what it is added as.
      let held = reserved.flatMap { view.node(with: $0) }.flatMap { $0.isHeld ? $0 : nil }
      let macs = try NodeKeys.macs(request.mac, of: held?.name, in: view)
      let name = request.name ?? view.reserveName(registry.pattern, for: macs[0])
      guard NodeName.isValid(name) else {
        throw NodeKeys.invalid(
          "name", name, "a host name: letters, digits and hyphens, at most 63, no hyphen at either end")
      }
      guard view.node(named: name) == nil else {
        throw ApplianceError(
          .conflict, "There is a node \(name) already. Choose another name, or delete that node first.")
      }
      var node = Node(name: name, macs: macs, created: now)
      if let held {
        node.macs += held.macs.filter { !node.macs.contains($0) }
        node.guid = held.guid
      }
      if let guid = request.guid { try NodeKeys.set("guid", guid, of: &node, in: view) }
      if let identifier = request.clientid { try NodeKeys.set("clientid", identifier, of: &node, in: view) }
      if let group = request.group { try NodeKeys.set("group", group, of: &node, in: view) }
      if let vnfs = request.vnfs { try NodeKeys.set("vnfs", vnfs, of: &node, in: view) }
      var changes = try Registry.changes(from: held, to: node)
      if let held { changes += try Self.move(view.boots(of: held.name), from: held.name, to: name) }
      let made = RegistryView.Made(what: "node \(name)", action: "add", after: macs[0].description)
      return (changes + (try view.records(of: [made], by: who, at: now)), (name, held?.name))
    }
    if let held {
      board.rename(held, to: name)
      try await timeline.rename(held, to: name)
      ledger.record(
        try one(name).macs[0], .state, "assigned", "the machine that was held as \(held) is node \(name) now")
    }
    return try one(name)
  }

  /// Sets a key of nodes; an empty value gives it back to group or defaults. All of them or none.
  package func setNodes(_ patterns: [String], key: String, value: String) async throws -> [ChangeView] {
    let names = try select(try some(patterns)).map(\.name)
    guard names.count == 1 || !NodeKeys.unshared.contains(key) else {
      throw ApplianceError(.invalid, "'\(key)' is one node's own; \(names.count) nodes were named. Name one.")
    }
    let who = Changer.name
    let now = Timestamp.now
    let (changes, renamed) = try await registry.update { view in
      var records: [Change] = []
      var changes: [ChangeView] = []
      var renamed: [String] = []
      for name in names {
        guard let old = view.node(named: name) else {
          throw ApplianceError(.notFound, "There is no node '\(name)' any more.")
        }
        var new = old
        try NodeKeys.set(key, value, of: &new, in: view)
        changes.append(
          ChangeView(name: name, key: key, before: NodeKeys.text(key, of: old), after: NodeKeys.text(key, of: new)))
        if new == old { continue }
        records += try Registry.changes(from: old, to: new)
        if new.name != old.name {
          renamed = [old.name, new.name]
          records += try Self.move(view.boots(of: old.name), from: old.name, to: new.name)
          if let order = view.livesyncs[old.name] {
            records += [.delete(RecordKey.livesync + old.name), try .put(RecordKey.livesync + new.name, order)]
          }
        }
      }
      records += try view.records(of: changes.compactMap { $0.made("node") }, by: who, at: now)
      return (records, (changes, renamed))
    }
    if renamed.count == 2 {
      board.rename(renamed[0], to: renamed[1])
      try await timeline.rename(renamed[0], to: renamed[1])
    }
    return changes
  }

  package func deleteNodes(_ patterns: [String]) async throws -> [NodeView] {
    let nodes = try select(try some(patterns))
    let views = nodes.map(view)
    let who = Changer.name
    let now = Timestamp.now
    try await registry.update { view in
      var records: [Change] = []
      for node in nodes {
        guard let old = view.node(named: node.name) else { continue }
        records += try Registry.changes(from: old, to: nil)
        records.append(.delete(RecordKey.status + old.name))
        records.append(.delete(RecordKey.facts + old.name))
        if view.livesyncs[old.name] != nil { records.append(.delete(RecordKey.livesync + old.name)) }
        records += view.boots(of: old.name).map { .delete(RecordKey.boot + $0.id) }
      }
      let made = nodes.map { node in
        RegistryView.Made(
          what: "node \(node.name)", action: "delete",
          after: node.node.macs.map(\.description).joined(separator: ","))
      }
      records += try view.records(of: made, by: who, at: now)
      return (records, ())
    }
    for node in nodes {
      ledger.forget(node.node.macs)
      board.forget(node.name)
      try await timeline.forget(node.name)
    }
    return views
  }

  /// - Parameter boot: The last one, where `nil`.
  package func nodeTimeline(_ name: String, boot: String? = nil) async throws -> [TimelineEvent] {
    _ = try one(name)
    return try await timeline.events(of: name, boot: boot)
  }

  /// Boots of a node that has another name now; what it said of itself is written anew under that.
  static func move(_ boots: [Boot], from name: String, to new: String) throws -> [Change] {
    var changes: [Change] = [.delete(RecordKey.status + name), .delete(RecordKey.facts + name)]
    for var boot in boots {
      boot.node = new
      changes.append(try .put(RecordKey.boot + boot.id, boot))
    }
    return changes
  }

  func one(_ name: String) throws -> NodeView {
    guard let node = registry.effective(name) else {
      throw ApplianceError(.notFound, "There is no node '\(name)'. perseid node list shows those there are.")
    }
    return view(node)
  }

  private func some(_ patterns: [String]) throws -> [String] {
    guard !patterns.isEmpty else {
      throw ApplianceError(.invalid, "No node was named. Name some, or all with '*'.")
    }
    return patterns
  }
}
