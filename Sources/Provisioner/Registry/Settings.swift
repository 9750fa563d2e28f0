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

/// What may be set for one node or for a group; `nil` where the next level decides: node, then group,
/// then the defaults of the configuration.
package struct Settings: Hashable, Sendable, Codable {
  package var vnfs: String?
  package var enabled: Bool?
  package var boot: BootMethod?
  package var root: RootMode?
  /// Words for the kernel command line. A node's replace its group's.
  package var kernelArgs: String?
  package var debug: Bool?
  package var description: String?
  /// Variables for nodescripts. A node's and its group's are joined; of one name the node's wins.
  package var vars: [String: String]?

  package init() {}
}

/// What holds where neither node nor group says otherwise.
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

/// A node as it is to be treated now: its own settings, its group's and the defaults made one.
package struct EffectiveNode: Hashable, Sendable {
  package var node: Node
  package var group: String
  package var vnfs: String
  package var enabled: Bool
  package var boot: BootMethod
  package var root: RootMode
  package var kernelArgs: String
  package var debug: Bool
  package var vars: [String: String]

  package init(_ node: Node, group settings: Settings?, defaults: NodeDefaults) {
    let own = node.settings
    self.node = node
    group = node.group ?? defaults.group
    vnfs = own.vnfs ?? settings?.vnfs ?? defaults.vnfs
    enabled = own.enabled ?? settings?.enabled ?? defaults.enabled
    boot = own.boot ?? settings?.boot ?? .ipxe
    root = own.root ?? settings?.root ?? .ram
    kernelArgs = own.kernelArgs ?? settings?.kernelArgs ?? ""
    debug = own.debug ?? settings?.debug ?? false
    vars = (settings?.vars ?? [:]).merging(own.vars ?? [:]) { $1 }
  }

  package var name: String { node.name }
}
