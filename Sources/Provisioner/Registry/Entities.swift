package import Capsule
package import CapsuleFormat
package import NetworkTypes

/// A machine of the cluster.
package struct Node: Hashable, Sendable, Codable {
  package var name: String
  /// Its cards, the one that boots first.
  package var macs: [MACAddress]
  /// SMBIOS system GUID as text, as it was seen. Vendors repeat it, so it never identifies a node by itself.
  package var guid: String?
  /// The GUID that a person says is this node's alone: a machine with it is this node, whatever its cards.
  package var ownGUID: String?
  /// The DHCP client identifier (option 61, type byte included) that a person says is this node's.
  package var clientIdentifier: [UInt8]?
  /// The address set aside for it, where one is.
  package var address: IPv4Address?
  /// The groups it is in, the main one first; empty where the defaults decide.
  package var groups: [String]
  package var settings = Settings()
  package var created: Timestamp
  /// A machine that nobody has said of which node it is: it waits in stage 1.
  package var isHeld = false

  package init(name: String, macs: [MACAddress], groups: [String] = [], created: Timestamp) {
    self.name = name
    self.macs = macs
    self.groups = groups
    self.created = created
  }

  private enum CodingKeys: String, CodingKey {
    case name, macs, guid, ownGUID, clientIdentifier, address, groups, settings, created, isHeld
    /// What records of earlier versions have in place of `groups`.
    case group
  }

  package init(from decoder: any Decoder) throws {
    let record = try decoder.container(keyedBy: CodingKeys.self)
    name = try record.decode(String.self, forKey: .name)
    macs = try record.decode([MACAddress].self, forKey: .macs)
    guid = try record.decodeIfPresent(String.self, forKey: .guid)
    ownGUID = try record.decodeIfPresent(String.self, forKey: .ownGUID)
    clientIdentifier = try record.decodeIfPresent([UInt8].self, forKey: .clientIdentifier)
    address = try record.decodeIfPresent(IPv4Address.self, forKey: .address)
    let group = try record.decodeIfPresent(String.self, forKey: .group)
    groups = try record.decodeIfPresent([String].self, forKey: .groups) ?? group.map { [$0] } ?? []
    settings = try record.decode(Settings.self, forKey: .settings)
    created = try record.decode(Timestamp.self, forKey: .created)
    isHeld = try record.decodeIfPresent(Bool.self, forKey: .isHeld) ?? false
  }

  package func encode(to encoder: any Encoder) throws {
    var record = encoder.container(keyedBy: CodingKeys.self)
    try record.encode(name, forKey: .name)
    try record.encode(macs, forKey: .macs)
    try record.encodeIfPresent(guid, forKey: .guid)
    try record.encodeIfPresent(ownGUID, forKey: .ownGUID)
    try record.encodeIfPresent(clientIdentifier, forKey: .clientIdentifier)
    try record.encodeIfPresent(address, forKey: .address)
    try record.encode(groups, forKey: .groups)
    try record.encode(settings, forKey: .settings)
    try record.encode(created, forKey: .created)
    if isHeld { try record.encode(true, forKey: .isHeld) }
  }
}

/// Nodes that share settings.
package struct Group: Hashable, Sendable, Codable {
  package var name: String
  package var settings = Settings()

  package init(name: String) {
    self.name = name
  }
}

/// A capsule's name and all that was ever registered under it.
package struct CapsuleRecord: Hashable, Sendable, Codable {
  package var name: String
  /// The generation that boots from now on.
  package var current: Int
  package var generations: [Generation]

  /// One build, which never changes.
  package struct Generation: Hashable, Sendable, Codable {
    /// From 1 on; a number is never used again.
    package var number: Int
    /// Of the capsule's manifest.
    package var digest: Digest
    package var registered: Timestamp
    package var version: String?
    package var kernel: String
    package var architecture: String
    package var operatingSystem: String?
    /// All blobs together.
    package var bytes: Int64
    package var rootBytes: Int64
    /// How it came to be, in words: `import of /srv/tree`.
    package var origin: String?
    /// Those of keys that were trusted when it was registered.
    package var signatures: [CapsuleSignature]?
  }

  package init(name: String, current: Int, generations: [Generation]) {
    self.name = name
    self.current = current
    self.generations = generations
  }

  package var currentGeneration: Generation? { generations.first { $0.number == current } }
}

/// One attempt of one machine to come up. It keeps the generation it began with.
package struct Boot: Hashable, Sendable, Codable {
  /// A short random word, which is in file names and on the kernel command line: no secret.
  package var id: String
  package var node: String
  package var mac: MACAddress
  package var opened: Timestamp
  /// When the machine first asked for its script, or reported its first state.
  package var bound: Timestamp
  package var address: IPv4Address?
  package var vnfs: String
  /// `nil` while the node's capsule does not exist.
  package var generation: Int?
  package var digest: Digest?
  /// The words that the node's kernel was given, where it was held as it booted: what it is assigned later may
  /// be something else.
  package var heldArguments: String?
  /// One more than the node's boot before this one had: the wall clock, which may jump, does not order boots.
  package var number: Int?

  package init(
    id: String, node: String, mac: MACAddress, opened: Timestamp, bound: Timestamp, address: IPv4Address?,
    vnfs: String, generation: Int?, digest: Digest?
  ) {
    self.id = id
    self.node = node
    self.mac = mac
    self.opened = opened
    self.bound = bound
    self.address = address
    self.vnfs = vnfs
    self.generation = generation
    self.digest = digest
  }
}

/// What a node last said of itself.
package struct NodeStatus: Hashable, Sendable, Codable {
  /// The last state reported.
  package var state: String
  package var lastContact: Timestamp
  /// When this state was first reported in this boot.
  package var since: Timestamp
  package var boot: String?
  package var address: IPv4Address?
  /// The capsule manifest its root came from.
  package var generation: String?
  /// The last step that was heard of, and how it stands.
  package var step: String?
  package var detail: String?
  /// When the step that is under way began; `nil` where none is.
  package var stepSince: Timestamp?
  /// Since when it has been past its deadline.
  package var stuck: Timestamp?
  /// What it waits for, where it was told to.
  package var wait: String?

  package init(state: String, lastContact: Timestamp, since: Timestamp) {
    self.state = state
    self.lastContact = lastContact
    self.since = since
  }
}

/// A module that was imported, and where it is activated. Its files are in `<state>/modules/NAME`.
package struct ModuleRecord: Hashable, Sendable, Codable {
  package var name: String
  package var version: String
  package var imported: Timestamp
  /// `init/all`, `ready/group/gpu`, sorted.
  package var active: [String]
  /// What its variables must be: `node set` refuses other values while it is active.
  package var variables: [String: VariableType]

  package init(name: String, version: String, imported: Timestamp, variables: [String: VariableType]) {
    self.name = name
    self.version = version
    self.imported = imported
    self.active = []
    self.variables = variables
  }
}
