package import Capsule
package import NetworkTypes
package import StateProtocol

/// An optional value that is written as `null` where there is none, so that a script always finds the key.
@propertyWrapper
package struct OrNull<Value: Codable & Hashable & Sendable>: Codable, Hashable, Sendable {
  package var wrappedValue: Value?

  package init(wrappedValue: Value?) {
    self.wrappedValue = wrappedValue
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    wrappedValue = container.decodeNil() ? nil : try container.decode(Value.self)
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    if let wrappedValue { try container.encode(wrappedValue) } else { try container.encodeNil() }
  }
}

/// A node as `node list` and `node show` have it: what holds for it now, wherever that was set.
package struct NodeView: Hashable, Sendable, Codable {
  package var name: String
  /// The first of its cards; `null` where it has none yet.
  @OrNull package var mac: MACAddress?
  package var macs: [MACAddress]
  /// Set, else as seen.
  @OrNull package var guid: String?
  @OrNull package var clientid: String?
  /// Leased, else as last seen, else set aside.
  @OrNull package var address: IPv4Address?
  @OrNull package var fixedAddress: IPv4Address?
  /// The main one.
  package var group: String
  /// All of them, the main one first.
  package var groups: [String]
  package var vnfs: String
  package var enabled: Bool
  package var boot: BootMethod
  package var root: RootMode
  package var kernelArgs: String
  package var description: String
  package var debug: Bool
  package var vars: [String: String]
  package var created: Timestamp
  /// What its machine said of itself last.
  @OrNull package var facts: Facts?
  /// Whether its machine waits for somebody to say which node it is.
  package var held: Bool
}

/// One line of what a node said, or of what was changed about it.
package struct LogEntry: Hashable, Sendable, Codable {
  package var at: Timestamp
  /// Who: `dhcp`, `tftp`, `http`, `state`, `step` of the node's boots, or `change`.
  package var source: String
  package var event: String
  package var detail: String
  @OrNull package var boot: String?
  /// Of a change: who made it.
  @OrNull package var who: String?
}

/// What `node replace` is given.
package struct ReplaceNode: Hashable, Sendable, Codable {
  /// A node, or the hardware address of a machine that is none.
  package var by: String

  package init(by: String) {
    self.by = by
  }
}

/// How a node is doing, the worst first.
package enum NodeCondition: String, Hashable, Sendable, Codable, CaseIterable, Comparable {
  /// Past its deadline in a state or a step.
  case stuck
  /// Not heard of for too long.
  case silent
  /// It was told to wait, and why.
  case waiting
  case good

  package static func < (left: NodeCondition, right: NodeCondition) -> Bool {
    (allCases.firstIndex(of: left) ?? 0) < (allCases.firstIndex(of: right) ?? 0)
  }
}

package struct NodeStatusView: Hashable, Sendable, Codable {
  package var name: String
  @OrNull package var mac: MACAddress?
  @OrNull package var address: IPv4Address?
  package var group: String
  package var groups: [String]
  package var vnfs: String
  /// How it has its root from the next boot on.
  package var root: RootMode
  /// The last state reported; `booting` where it boots and has not reported yet; `unknown` where it never did.
  package var state: String
  package var condition: NodeCondition
  /// When it came into this state.
  @OrNull package var since: Timestamp?
  /// Of the boot.
  @OrNull package var generation: Int?
  /// The generation that it took over since it booted.
  @OrNull package var synchronised: Int?
  @OrNull package var step: String?
  @OrNull package var lastContact: Timestamp?
  @OrNull package var boot: String?
  @OrNull package var detail: String?
}

package struct SummaryView: Hashable, Sendable, Codable {
  package var nodes: Int
  package var enabled: Int
  /// Nodes that somebody should look at, those with the same trouble together, the worst first.
  package var troubles: [Trouble]
  package var states: [String: Int]
  package var capsules: [String: Int]
  package var groups: [String: Int]

  package struct Trouble: Hashable, Sendable, Codable {
    package var condition: NodeCondition
    package var state: String
    @OrNull package var step: String?
    package var count = 0
    /// The first of them.
    package var nodes: [String] = []

    package static let nameLimit = 20
  }
}

/// One setting before and after.
package struct ChangeView: Hashable, Sendable, Codable {
  /// Of the node or group.
  package var name: String
  package var key: String
  @OrNull package var before: String?
  @OrNull package var after: String?
}

package struct GroupView: Hashable, Sendable, Codable {
  package var name: String
  @OrNull package var vnfs: String?
  @OrNull package var enabled: Bool?
  @OrNull package var boot: BootMethod?
  @OrNull package var root: RootMode?
  @OrNull package var kernelArgs: String?
  @OrNull package var description: String?
  @OrNull package var debug: Bool?
  package var vars: [String: String]
  /// How many nodes are in it.
  package var nodes: Int
}

package struct GroupSummaryView: Hashable, Sendable, Codable {
  package var name: String
  package var nodes: Int
  package var states: [String: Int]
}

package struct CapsuleView: Hashable, Sendable, Codable {
  package var name: String
  @OrNull package var version: String?
  /// The one that boots.
  package var generation: Int
  package var digest: String
  /// The kernel's release.
  package var kernel: String
  package var bytes: Int64
  /// Where it is unpacked to be changed.
  @OrNull package var mountPath: String?
  /// `mounted`, `busy` while a command or a shell is at it, `interrupted` where only `close` is of use.
  @OrNull package var mountState: String?
  @OrNull package var operatingSystem: String?
  package var architecture: String
  /// How many nodes it is assigned to.
  package var nodes: Int
  package var created: Timestamp
  package var generations: [GenerationView]

  package struct GenerationView: Hashable, Sendable, Codable {
    package var generation: Int
    @OrNull package var version: String?
    package var digest: String
    package var kernel: String
    package var bytes: Int64
    package var created: Timestamp
    /// Whether it boots from now on.
    package var isCurrent: Bool
    /// How many nodes run it, or boot it right now.
    package var running: Int
    /// How it came to be, in words.
    @OrNull package var origin: String?
    /// The keys that have signed it, as far as they are trusted.
    package var signedBy: [String]
    package var signatures: [CapsuleSignature]
  }
}

/// What a collection of unused blobs did.
package struct CollectionView: Hashable, Sendable, Codable {
  /// Those that are gone: `debian-12:3`.
  package var generations: [String] = []
  package var blobs = 0
  package var bytes: Int64 = 0
  /// Whether blobs were left alone since an import, an export or something else reads or writes them right now.
  package var postponed = false
}

/// What a node would get now, and why.
package struct WhyView: Hashable, Sendable, Codable {
  package var name: String
  @OrNull package var mac: MACAddress?
  package var enabled: Bool
  package var boot: BootMethod
  package var vnfs: String
  @OrNull package var generation: Int?
  @OrNull package var digest: String?
  /// What its programs asked last, and what they were answered, since the appliance was started.
  package var heard: [Heard]
  /// What is tried with its firmware, where that has asked.
  @OrNull package var strategy: Strategy?
  /// For each kind of firmware and loader: what it is answered.
  package var answers: [Answer]
  /// The scripts of each state, in order.
  package var scripts: [Script]
  /// The files that modules bring, in each of these states.
  package var files: [File]
  /// Each setting and who decides it: node, group, defaults or, for a variable, a module.
  package var settings: [Setting]

  package struct Heard: Hashable, Sendable, Codable {
    package var at: Timestamp
    /// Which program: firmware with its platform, iPXE, stage 1.
    package var client: String
    /// What it said: the message, its vendor class, its architectures.
    package var asked: String
    package var answered: String
    package var reason: String
    /// The rows of the table of quirks that the answer was made by.
    package var rules: [Rule]

    package struct Rule: Hashable, Sendable, Codable {
      package var name: String
      package var words: String
      package var source: String
    }
  }

  package struct Strategy: Hashable, Sendable, Codable {
    /// How the firmware is told its boot file: `plain`, `direct` or `boot-server`.
    package var delivery: String
    /// `usual`, or `signed` for shim and GRUB in iPXE's place.
    package var loader: String
    /// Whether the machine has booted with it.
    package var isProven: Bool
    package var words: String
  }

  package struct Answer: Hashable, Sendable, Codable {
    package var client: String
    @OrNull package var bootFile: String?
    package var reason: String
  }

  package struct Script: Hashable, Sendable, Codable {
    package var state: String
    package var name: String
    package var level: String
    package var onAppliance: Bool
    package var replaced: [String]
    /// Whose it is; null for one of the site's own or of the capsule.
    @OrNull package var module: String?
  }

  /// A file that a module brings.
  package struct File: Hashable, Sendable, Codable {
    package var state: String
    package var path: String
    package var module: String
    package var level: String
    package var replaced: [String]
  }

  package struct Setting: Hashable, Sendable, Codable {
    package var key: String
    package var value: String
    package var from: String
  }
}

package struct InfoView: Hashable, Sendable, Codable {
  package var version: String
  package var configuration: String
  package var stateDirectory: String
  package var interfaces: [String]
  package var nodes: Int
  package var groups: Int
  package var capsules: Int
  package var process: Int32
  package var pools: [PoolView]
  package var network: NetworkView
}

/// What `node add` is given.
package struct AddNode: Hashable, Sendable, Codable {
  /// One, or several with commas between them; it boots from the first.
  package var mac: String
  package var name: String?
  package var vnfs: String?
  /// One, or several with commas between them, the main one first.
  package var group: String?
  package var guid: String?
  package var clientid: String?

  package init(
    mac: String, name: String? = nil, vnfs: String? = nil, group: String? = nil, guid: String? = nil,
    clientid: String? = nil
  ) {
    self.guid = guid
    self.clientid = clientid
    self.mac = mac
    self.name = name
    self.vnfs = vnfs
    self.group = group
  }
}
