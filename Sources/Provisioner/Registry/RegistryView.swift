package import DHCP
package import NetworkTypes
package import StateProtocol

/// The registry in memory: what every decision is made from. Each question a packet asks is one look-up,
/// whatever the number of nodes. Not to be copied: two dozen counts of references would go up and down for
/// every question.
package struct RegistryView: ~Copyable, Sendable {
  /// Of the last batch applied.
  package private(set) var revision: Revision = 0
  package private(set) var nodes: [String: Node] = [:]
  package private(set) var groups: [String: Group] = [:]
  package private(set) var capsules: [String: CapsuleRecord] = [:]
  package private(set) var boots: [String: Boot] = [:]
  package private(set) var statuses: [String: NodeStatus] = [:]
  package private(set) var facts: [String: Facts] = [:]
  package private(set) var livesyncs: [String: LivesyncOrder] = [:]
  package private(set) var leases: [IPv4Address: Lease] = [:]
  package private(set) var tokens: [String: TokenRecord] = [:]
  package private(set) var modules: [String: ModuleRecord] = [:]
  /// Changes whenever a node, or an address of one, does.
  package private(set) var directoryRevision = 0
  /// What has worked with firmware that the usual answer did not boot.
  package private(set) var strategies: [MACAddress: FirmwareTrial.Strategy] = [:]
  /// How many machines are held.
  package private(set) var heldNodes = 0
  /// What people changed: a ring of records, each in the place of its number.
  package private(set) var changes: [Int: ChangeRecord] = [:]
  /// The number of the next one.
  package private(set) var nextChange = 1
  /// How many nodes have neither an address set aside nor a lease.
  package private(set) var waitingNodes = 0
  /// Records that could not be read: named in the log, never guessed at.
  package private(set) var damaged: [String] = []

  /// Names given to nodes whose commit is under way: by name and by card.
  private var reservedNames: [String: MACAddress] = [:]
  private var reservedByMAC: [MACAddress: String] = [:]
  private var nodeByMAC: [MACAddress: String] = [:]
  private var nodeByAddress: [IPv4Address: String] = [:]
  private var nodeByClientIdentifier: [[UInt8]: String] = [:]
  private var nodeByGUID: [String: String] = [:]
  /// Names of modules by where they are activated: `init/all`.
  private var modulesByRole: [String: [String]] = [:]
  /// Identifiers, the oldest boot first.
  private var bootsByNode: [String: [String]] = [:]
  private var bootByAddress: [IPv4Address: String] = [:]
  private var addressByMAC: [MACAddress: IPv4Address] = [:]
  /// All lower numbers of the pattern are taken.
  private var freeHints: [NamePattern: Int] = [:]

  package init() {}

  // MARK: Questions

  package func node(named name: String) -> Node? { nodes[name] }

  package func node(with mac: MACAddress) -> Node? { nodeByMAC[mac].flatMap { nodes[$0] } }

  /// The node that a person gave this client identifier.
  package func node(withClientIdentifier identifier: [UInt8]) -> Node? {
    nodeByClientIdentifier[identifier].flatMap { nodes[$0] }
  }

  /// The node that a person gave this GUID.
  package func node(withGUID guid: String) -> Node? { nodeByGUID[guid].flatMap { nodes[$0] } }

  /// The node that this address is set aside for.
  package func node(reserving address: IPv4Address) -> Node? { nodeByAddress[address].flatMap { nodes[$0] } }

  package func boots(of node: String) -> [Boot] { (bootsByNode[node] ?? []).compactMap { boots[$0] } }

  package func lastBoot(of node: String) -> Boot? { bootsByNode[node]?.last.flatMap { boots[$0] } }

  /// The last boot that was seen under this address.
  package func boot(at address: IPv4Address) -> Boot? { bootByAddress[address].flatMap { boots[$0] } }

  /// The card that holds this address by a lease.
  package func holder(of address: IPv4Address) -> MACAddress? {
    guard let lease = leases[address], lease.state == .bound, case .hardware(let mac) = lease.holder else { return nil }
    return mac
  }

  /// The name of the node that is a lease's client.
  package func nodeName(holding lease: Lease) -> String? {
    switch lease.holder {
    case .hardware(let mac): nodeByMAC[mac]
    case .identifier(let bytes): nodeByClientIdentifier[bytes]
    }
  }

  /// The address this card was last leased.
  package func leasedAddress(of mac: MACAddress) -> IPv4Address? { addressByMAC[mac] }

  /// The modules that are active there, by name.
  package func activeModules(_ role: String) -> [String] { modulesByRole[role] ?? [] }

  package func effective(_ node: Node, _ defaults: NodeDefaults) -> EffectiveNode {
    EffectiveNode(node, defaults: defaults) { groups[$0]?.settings }
  }

  /// The first name of the pattern that no node has, set aside for this card until it is released, so
  /// that a thousand machines at one moment do not all ask for one name.
  package mutating func reserveName(_ pattern: NamePattern, for mac: MACAddress) -> String {
    if let name = reservedByMAC[mac] { return name }
    let name = nextFreeName(pattern)
    reservedNames[name] = mac
    reservedByMAC[mac] = name
    return name
  }

  package mutating func releaseName(of mac: MACAddress) {
    if let name = reservedByMAC.removeValue(forKey: mac) { reservedNames[name] = nil }
  }

  /// The first name of the pattern that no node has.
  package mutating func nextFreeName(_ pattern: NamePattern) -> String {
    var number = freeHints[pattern] ?? 0
    while nodes[pattern.name(number)] != nil { number += 1 }
    freeHints[pattern] = number
    while nodes[pattern.name(number)] != nil || reservedNames[pattern.name(number)] != nil { number += 1 }
    return pattern.name(number)
  }

  // MARK: Feeding

  package mutating func load(_ snapshot: StoreSnapshot) {
    for record in snapshot.records { apply(record.key, record.value) }
    revision = snapshot.revision
    // Records come in the order of their keys; boots have an order of their own.
    for (name, identifiers) in bootsByNode {
      let sorted = identifiers.compactMap { boots[$0] }.sorted {
        ($0.number ?? 0, $0.bound, $0.id) < ($1.number ?? 0, $1.bound, $1.id)
      }
      bootsByNode[name] = sorted.map(\.id)
    }
    bootByAddress = [:]
    for boot in boots.values.sorted(by: { ($0.bound, $0.id) < ($1.bound, $1.id) }) {
      if let address = boot.address { bootByAddress[address] = boot.id }
    }
  }

  package mutating func apply(_ batch: Batch) {
    guard batch.revision > revision else { return }
    for change in batch.changes {
      if let lease = change.lease { setLease(lease, at: lease.address) } else { apply(change.key, change.value) }
    }
    revision = batch.revision
  }

  private mutating func apply(_ key: String, _ value: [UInt8]?) {
    guard let slash = key.utf8.firstIndex(of: UInt8(ascii: "/")) else { return }
    let name = String(key[key.utf8.index(after: slash)...])
    do {
      switch key[...slash] {
      case RecordKey.lease: try setLease(name, value)
      case RecordKey.node: try setNode(name, value.map { try decodeRecord(Node.self, $0) })
      case RecordKey.group: groups[name] = try value.map { try decodeRecord(Group.self, $0) }
      case RecordKey.capsule: capsules[name] = try value.map { try decodeRecord(CapsuleRecord.self, $0) }
      case RecordKey.token: tokens[name] = try value.map { try decodeRecord(TokenRecord.self, $0) }
      case RecordKey.module: setModule(name, try value.map { try decodeRecord(ModuleRecord.self, $0) })
      case RecordKey.boot: try setBoot(name, value.map { try decodeRecord(Boot.self, $0) })
      case RecordKey.status: statuses[name] = try value.map { try decodeRecord(NodeStatus.self, $0) }
      case RecordKey.change:
        if let record = try value.map({ try decodeRecord(ChangeRecord.self, $0) }) {
          changes[record.number % ChangeRecord.limit] = record
          nextChange = max(nextChange, record.number + 1)
        }
      case RecordKey.livesync: livesyncs[name] = try value.map { try decodeRecord(LivesyncOrder.self, $0) }
      case RecordKey.facts: facts[name] = try value.map { try decodeRecord(Facts.self, $0) }
      case RecordKey.strategy:
        if let mac = MACAddress(name) {
          strategies[mac] = try value.map { try decodeRecord(FirmwareTrial.Strategy.self, $0) }
        }
      default: break
      }
    } catch {
      if damaged.count < 100 { damaged.append("\(key): \(error)") }
    }
  }

  private mutating func setModule(_ name: String, _ record: ModuleRecord?) {
    for role in modules[name]?.active ?? [] {
      modulesByRole[role]?.removeAll { $0 == name }
      if modulesByRole[role]?.isEmpty == true { modulesByRole[role] = nil }
    }
    modules[name] = record
    for role in record?.active ?? [] { modulesByRole[role] = ((modulesByRole[role] ?? []) + [name]).sorted() }
  }

  private func isWaiting(_ name: String) -> Bool {
    guard let node = nodes[name], node.address == nil else { return false }
    return node.macs.allSatisfy { addressByMAC[$0] == nil }
  }

  private mutating func setNode(_ name: String, _ node: Node?) throws {
    directoryRevision += 1
    waitingNodes -= isWaiting(name) ? 1 : 0
    defer { waitingNodes += isWaiting(name) ? 1 : 0 }
    if let old = nodes[name] {
      for mac in old.macs where nodeByMAC[mac] == name { nodeByMAC[mac] = nil }
      if let address = old.address, nodeByAddress[address] == name { nodeByAddress[address] = nil }
      if let identifier = old.clientIdentifier, nodeByClientIdentifier[identifier] == name {
        nodeByClientIdentifier[identifier] = nil
      }
      if let guid = old.ownGUID, nodeByGUID[guid] == name { nodeByGUID[guid] = nil }
    }
    heldNodes += (node?.isHeld == true ? 1 : 0) - (nodes[name]?.isHeld == true ? 1 : 0)
    nodes[name] = node
    guard let node else {
      for (pattern, hint) in freeHints {
        if let number = pattern.number(of: name), number < hint { freeHints[pattern] = number }
      }
      return
    }
    for mac in node.macs { nodeByMAC[mac] = name }
    if let address = node.address { nodeByAddress[address] = name }
    if let identifier = node.clientIdentifier { nodeByClientIdentifier[identifier] = name }
    if let guid = node.ownGUID { nodeByGUID[guid] = name }
  }

  private mutating func setBoot(_ id: String, _ boot: Boot?) throws {
    let old = boots[id]
    if let old, old.node != boot?.node {
      bootsByNode[old.node]?.removeAll { $0 == id }
      if bootsByNode[old.node]?.isEmpty == true { bootsByNode[old.node] = nil }
    }
    if let address = old?.address, bootByAddress[address] == id, boot?.address != address {
      bootByAddress[address] = nil
    }
    boots[id] = boot
    guard let boot else { return }
    if old?.node != boot.node { bootsByNode[boot.node, default: []].append(id) }
    if let address = boot.address { bootByAddress[address] = id }
  }

  private func nodeName(of holder: LeaseHolder) -> String? {
    if case .hardware(let mac) = holder { nodeByMAC[mac] } else { nil }
  }

  private mutating func countWaiting(_ name: String?, _ other: String?, by number: Int) {
    if let name, isWaiting(name) { waitingNodes += number }
    if let other, other != name, isWaiting(other) { waitingNodes += number }
  }

  private struct UnreadableLease: Error {}

  private mutating func setLease(_ name: String, _ value: [UInt8]?) throws {
    guard let address = IPv4Address(name) else { throw UnreadableLease() }
    let lease = value.flatMap { LeaseCoding.lease(of: address, value: $0) }
    if value != nil, lease == nil { throw UnreadableLease() }
    setLease(lease, at: address)
  }

  private mutating func setLease(_ lease: Lease?, at address: IPv4Address) {
    let old = leases[address]
    // A renewal, as nearly all are, changes nothing for the nodes.
    if let old, let lease, old.holder == lease.holder, old.state == lease.state, case .hardware(let mac) = old.holder,
      addressByMAC[mac] == address
    {
      leases[address] = lease
      return
    }
    let (name, oldName) = (lease.flatMap { nodeName(of: $0.holder) }, old.flatMap { nodeName(of: $0.holder) })
    if name != nil || oldName != nil { directoryRevision += 1 }
    countWaiting(name, oldName, by: -1)
    defer { countWaiting(name, oldName, by: 1) }
    if let old, case .hardware(let mac) = old.holder, addressByMAC[mac] == address {
      addressByMAC[mac] = nil
    }
    leases[address] = lease
    if let lease, lease.state == .bound, case .hardware(let mac) = lease.holder { addressByMAC[mac] = address }
  }
}

extension Sequence {
  /// The first answer that there is, asked in order. A lazy sequence would have to keep the view.
  func firstAnswer<Answer>(_ ask: (Element) -> Answer?) -> Answer? {
    for element in self {
      if let answer = ask(element) { return answer }
    }
    return nil
  }
}
