import DHCP
package import NetworkTypes
import Synchronization

/// Nodes, groups, capsules, boots and leases: read from memory, written through the store.
package final class Registry: Sendable {
  package let store: any Store & EventStore
  package let defaults: NodeDefaults
  package let discovery: Configuration.Discovery
  package let pattern: NamePattern
  private let view = Mutex(RegistryView())

  /// Boots kept for each node, with their timelines.
  package static let bootLimit = 8

  /// Reads all that is in the store, and follows it from there.
  package init(
    store: any Store & EventStore, defaults: NodeDefaults, discovery: Configuration.Discovery = .add
  ) async throws {
    guard let pattern = NamePattern(defaults.nodeName) else {
      throw ApplianceError(.failed, "'\(defaults.nodeName)' is not a pattern of node names such as n####.")
    }
    self.store = store
    self.defaults = defaults
    self.discovery = discovery
    self.pattern = pattern
    let snapshot = try await store.snapshot()
    view.withLock { $0.load(snapshot) }
    try await store.watch(from: snapshot.revision) { [weak self] batch in
      self?.view.withLock { $0.apply(batch) }
    }
  }

  /// Looks at the registry as it is at this moment. Nothing changes while `body` runs, so it is short.
  package func read<Answer>(_ body: (borrowing RegistryView) throws -> Answer) rethrows -> Answer {
    try view.withLock { try body($0) }
  }

  /// Changes the registry: `plan` says what to write from what is there now. Where someone else was
  /// there first, it is asked again.
  package func update<Answer: Sendable>(
    _ plan: @Sendable (inout RegistryView) throws -> (changes: [Change], answer: Answer)
  ) async throws -> Answer {
    for _ in 0..<16 {
      let (planned, revision) = try view.withLock { view in (try plan(&view), view.revision) }
      if planned.changes.isEmpty { return planned.answer }
      do {
        try await store.commit(planned.changes, expecting: revision)
        return planned.answer
      } catch StoreError.conflict {
        continue
      }
    }
    throw ApplianceError(.conflict, "The registry was changed by others again and again at the same moment. Try again.")
  }

  package func effective(_ name: String) -> EffectiveNode? {
    read { view in view.node(named: name).map { view.effective($0, defaults) } }
  }

  package func effective(with mac: MACAddress) -> EffectiveNode? {
    read { view in view.node(with: mac).map { view.effective($0, defaults) } }
  }

  /// Most machines that are held at one time: whoever makes addresses up must not fill the registry.
  static let heldLimit = 4096

  /// A machine that nobody named yet: the node it becomes, and what to write for it. Within `update`.
  /// The name stays set aside until `release`. A machine that is held has a name of its own.
  /// - Throws: `ApplianceError` with code `refused` where the configuration says so.
  func discover(
    _ mac: MACAddress, guid: String?, now: Timestamp, in view: inout RegistryView
  ) throws -> (Node, [Change]) {
    guard discovery != .refuse, discovery == .add || view.heldNodes < Self.heldLimit else {
      let reason = discovery == .refuse ? "discovery: refuse" : "\(view.heldNodes) machines are held already"
      throw ApplianceError(
        .refused, "\(mac) is no node, and unknown machines are refused (\(reason)): perseid node add \(mac) NAME")
    }
    let isHeld = discovery == .hold
    let name = isHeld ? "held-" + mac.description.filter { $0 != ":" } : view.reserveName(pattern, for: mac)
    var node = Node(name: name, macs: [mac], created: now)
    node.isHeld = isHeld
    node.guid = guid
    return (node, try Self.changes(from: nil, to: node))
  }

  /// Gives back a name that was set aside for a card, once its node is there or will not be.
  func release(_ mac: MACAddress) {
    view.withLock { $0.releaseName(of: mac) }
  }

  /// What to write so that `old` becomes `new`: the record, and the claims on cards, addresses and identifiers.
  static func changes(from old: Node?, to new: Node?) throws -> [Change] {
    var changes: [Change] = []
    if let old, old.name != new?.name { changes.append(.delete(RecordKey.node + old.name)) }
    if let new { changes.append(try .put(RecordKey.node + new.name, new)) }
    let isRenamed = old?.name != new?.name
    for mac in old?.macs ?? [] where new?.macs.contains(mac) != true {
      changes.append(.delete(RecordKey.mac + mac.description))
    }
    for mac in new?.macs ?? [] where isRenamed || old?.macs.contains(mac) != true {
      changes.append(.put(RecordKey.mac + mac.description, text: new?.name ?? ""))
    }
    if let address = old?.address, address != new?.address {
      changes.append(.delete(RecordKey.address + address.description))
    }
    if let new, let address = new.address, isRenamed || address != old?.address {
      changes.append(.put(RecordKey.address + address.description, text: new.name))
    }
    func claim(_ prefix: String, _ before: String?, _ after: String?) {
      if let before, before != after { changes.append(.delete(prefix + before)) }
      if let new, let after, isRenamed || after != before { changes.append(.put(prefix + after, text: new.name)) }
    }
    claim(RecordKey.guid, old?.ownGUID, new?.ownGUID)
    claim(
      RecordKey.clientIdentifier, old?.clientIdentifier.map { MachineIdentity.hexadecimal($0, separator: "") },
      new?.clientIdentifier.map { MachineIdentity.hexadecimal($0, separator: "") })
    return changes
  }
}
