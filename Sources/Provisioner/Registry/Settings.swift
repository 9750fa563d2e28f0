/// What a machine boots with.
package enum BootMethod: String, Hashable, Sendable, Codable, CaseIterable {
  case ipxe
  case grub
  case pxelinux
  /// Its own disk: nothing is sent.
  case local
}

/// Where the root file system lives.
package enum RootMode: String, Hashable, Sendable, Codable, CaseIterable {
  /// Unpacked into memory.
  case ram
  /// An image below, memory above.
  case overlay
}

/// What may be set for one node or for a group; `nil` where the next level decides: node, then its
/// main group, then its further groups in their order, then the defaults of the configuration.
package struct Settings: Hashable, Sendable, Codable {
  package var vnfs: String?
  package var enabled: Bool?
  package var boot: BootMethod?
  package var root: RootMode?
  /// Words for the kernel command line. A node's replace its groups'.
  package var kernelArgs: String?
  package var debug: Bool?
  package var description: String?
  /// Variables for nodescripts. A node's and its groups' are joined; of one name the nearest wins.
  package var vars: [String: String]?

  package init() {}
}

/// What holds where neither node nor groups say otherwise.
package struct NodeDefaults: Hashable, Sendable {
  /// The pattern of names: `n####`.
  package var nodeName: String
  package var group: String
  package var vnfs: String
  package var enabled: Bool

  package init(nodeName: String = "n####", group: String = "cluster", vnfs: String = "debian-12", enabled: Bool = true)
  {
    self.nodeName = nodeName
    self.group = group
    self.vnfs = vnfs
    self.enabled = enabled
  }
}

/// A node as it is to be treated now: its own settings, its groups' and the defaults made one.
package struct EffectiveNode: Hashable, Sendable {
  package var node: Node
  /// The groups it is in, the main one first: at least one.
  package var groups: [String]
  package var vnfs: String
  package var enabled: Bool
  package var boot: BootMethod
  /// `nil`: as its capsule says.
  package var root: RootMode?
  package var kernelArgs: String
  package var debug: Bool
  package var vars: [String: String]

  /// - Parameter settings: What a group of this name sets.
  package init(_ node: Node, defaults: NodeDefaults, settings: (_ group: String) -> Settings?) {
    let groups = node.groups(defaults)
    let levels = [node.settings] + groups.compactMap(settings)
    self.node = node
    self.groups = groups
    vnfs = Self.first(levels, \.vnfs) ?? defaults.vnfs
    enabled = Self.first(levels, \.enabled) ?? defaults.enabled
    boot = Self.first(levels, \.boot) ?? .ipxe
    root = Self.first(levels, \.root)
    kernelArgs = Self.first(levels, \.kernelArgs) ?? ""
    debug = Self.first(levels, \.debug) ?? false
    var vars = levels[0].vars ?? [:]
    for level in levels.dropFirst() { vars.merge(level.vars ?? [:]) { nearer, _ in nearer } }
    self.vars = vars
  }

  private static func first<Value>(_ levels: [Settings], _ key: KeyPath<Settings, Value?>) -> Value? {
    for level in levels { if let value = level[keyPath: key] { return value } }
    return nil
  }

  package var name: String { node.name }
  /// The main one.
  package var group: String { groups[0] }
}

extension Node {
  /// The groups it is in, the main one first: at least the defaults' one.
  package func groups(_ defaults: NodeDefaults) -> [String] { groups.isEmpty ? [defaults.group] : groups }
}
