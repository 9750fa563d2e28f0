import CapsuleFormat
import ConfigurationFile
import NetworkTypes
import Yams

/// The registry as a YAML file, for people and for git: what they set, and nothing that is only seen.
///
///     perseid: 1
///     groups:
///       gpu: {kernelArgs: nomodeset, vars: {SITE: here}}
///     nodes:
///       n0001: {mac: ['52:54:00:12:34:56'], group: [gpu, rack7], address: 10.0.0.21}
///     modules:
///       hosts: {version: "1.0", active: [init/all, ready/group/gpu]}
///     capsules:
///       debian-12: {generation: 3, digest: 'sha256:...'}
enum RegistryFile {
  static let version = "1"
  /// Largest file that is read, in bytes.
  static let sizeLimit = 64 << 20

  static let settingKeys = ["vnfs", "enabled", "boot", "root", "kernelArgs", "description", "debug"]
  static let nodeKeys = ["mac", "guid", "clientid", "address", "group", "seenGUID", "held", "created"]

  // MARK: Writing

  /// - Throws: Where it cannot be written as YAML, which is a fault of the program.
  static func text(
    nodes: [Node], groups: [Group], modules: [ModuleRecord], capsules: [CapsuleRecord]
  ) throws -> String {
    var root: [(Yams.Node, Yams.Node)] = [(scalar("perseid"), scalar(version))]
    root.append(
      (scalar("groups"), mapping(groups.sorted { $0.name < $1.name }.map { ($0.name, section(settings($0.settings))) }))
    )
    root.append((scalar("nodes"), mapping(nodes.sorted { $0.name < $1.name }.map { ($0.name, section(fields($0))) })))
    let activations = modules.sorted { $0.name < $1.name }.map { module in
      (module.name, mapping([("version", scalar(module.version)), ("active", list(module.active))]))
    }
    root.append((scalar("modules"), mapping(activations)))
    // For whoever reads it: an import takes over no capsules.
    let built = capsules.sorted { $0.name < $1.name }.compactMap { capsule -> (String, Yams.Node)? in
      capsule.currentGeneration.map { generation in
        let fields = [("generation", "\(generation.number)"), ("digest", generation.digest.description)]
        return (capsule.name, mapping(fields.map { ($0, scalar($1)) }))
      }
    }
    root.append((scalar("capsules"), mapping(built)))
    return try Yams.serialize(node: .mapping(Yams.Node.Mapping(root)), width: -1, allowUnicode: true)
  }

  private static func fields(_ node: Node) -> [(String, Yams.Node)] {
    var fields: [(String, Yams.Node)] = [("mac", list(node.macs.map(\.description)))]
    for key in ["guid", "clientid", "address"] {
      if let value = NodeKeys.text(key, of: node) { fields.append((key, scalar(value))) }
    }
    if !node.groups.isEmpty { fields.append(("group", list(node.groups))) }
    fields += settings(node.settings)
    if let guid = node.guid { fields.append(("seenGUID", scalar(guid))) }
    if node.isHeld { fields.append(("held", scalar("true"))) }
    fields.append(("created", scalar(node.created.description)))
    return fields
  }

  private static func settings(_ settings: Settings) -> [(String, Yams.Node)] {
    var fields = settingKeys.compactMap { key in NodeKeys.text(key, of: settings).map { (key, scalar($0)) } }
    if let vars = settings.vars {
      fields.append(("vars", mapping(vars.sorted { $0.key < $1.key }.map { ($0.key, scalar($0.value)) })))
    }
    return fields
  }

  private static func scalar(_ text: String) -> Yams.Node {
    // Everything is text here, and read as such; what would be something else to other readers is put in quotes.
    let isPlain =
      text.first?.isLetter == true
      && !["true", "false", "yes", "no", "on", "off", "null", "y", "n"]
        .contains(text.lowercased())
      || text == version
    let isBool = text == "true" || text == "false"
    return .scalar(Yams.Node.Scalar(text, Tag(.str), isPlain || isBool ? .any : .doubleQuoted))
  }

  private static func list(_ texts: [String]) -> Yams.Node {
    .sequence(Yams.Node.Sequence(texts.map(scalar), .implicit, .flow))
  }

  private static func mapping(_ fields: [(String, Yams.Node)]) -> Yams.Node {
    .mapping(Yams.Node.Mapping(fields.map { (scalar($0), $1) }))
  }

  private static func section(_ fields: [(String, Yams.Node)]) -> Yams.Node { mapping(fields) }

  // MARK: Reading

  /// What a file says, whole and without contradictions.
  struct Content {
    var nodes: [Node] = []
    var groups: [Group] = []
    /// `nil` where the file does not speak of modules: what is active stays so.
    var activations: [Activation]?
  }

  /// Where a module is to be active.
  struct Activation {
    var module: String
    var roles: [ModuleRole]
    /// For errors that only the appliance finds.
    var section: YAMLSection
  }

  /// - Parameter file: For messages.
  /// - Throws: `ApplianceError` with file, line, key, what was found and what is allowed.
  static func read(_ text: String, file: String, now: Timestamp) throws -> Content {
    guard text.utf8.count <= sizeLimit else {
      throw ApplianceError(
        .invalid, "\(file): it has \(text.utf8.count) bytes, where at most \(sizeLimit) are read.")
    }
    do {
      return try parse(text, file: file, now: now)
    } catch let error as ConfigurationError {
      throw ApplianceError(.invalid, "\(error)")
    }
  }

  private static func parse(_ text: String, file: String, now: Timestamp) throws -> Content {
    guard let node = try YAMLSection.compose(text, file: file) else {
      throw ConfigurationError(
        file: file, line: nil, key: "perseid", message: "found nothing, allowed is a registry: perseid, groups, nodes.")
    }
    let root = try YAMLSection(
      node, file: file, path: "", allowed: ["perseid", "groups", "nodes", "modules", "capsules"])
    let found = try root.value("perseid", allowed: version) { $0 == version ? $0 : nil }
    guard found != nil else {
      throw ConfigurationError(
        file: file, line: root.line, key: "perseid", message: "found nothing, allowed is \(version).")
    }
    var content = Content()
    // Each one is looked at beside those before it, so that no card, address or name is there twice.
    var view = RegistryView()
    func apply(_ changes: [Change]) { view.apply(Batch(revision: view.revision + 1, changes: changes)) }
    if let groups = try root.section("groups", allowed: nil) {
      for name in groups.keys {
        guard NodeName.isValidLabel(name) else {
          throw groups.error(name, "found '\(name)', allowed are \(NodeKeys.label).")
        }
        guard let section = try groups.section(name, allowed: settingKeys + ["vars"]) else { continue }
        var group = Group(name: name)
        try readSettings(section, into: &group.settings)
        content.groups.append(group)
      }
    }
    if let nodes = try root.section("nodes", allowed: nil) {
      for name in nodes.keys {
        guard NodeName.isValid(name) else {
          throw nodes.error(name, "found '\(name)', allowed is a host name: letters, digits and hyphens, at most 63.")
        }
        guard let section = try nodes.section(name, allowed: nodeKeys + settingKeys + ["vars"]) else { continue }
        var node = Node(name: name, macs: [], created: now)
        let macs = try section.list("mac", allowed: "hardware addresses such as 52:54:00:12:34:56") { $0 } ?? []
        guard !macs.isEmpty else {
          throw ConfigurationError(
            file: file, line: section.line, key: "\(section.path).mac",
            message: "found nothing, allowed are hardware addresses such as 52:54:00:12:34:56.")
        }
        try set("mac", macs.joined(separator: ","), section) { try NodeKeys.set($0, $1, of: &node, in: view) }
        for key in ["guid", "clientid", "address"] {
          guard let value = try section.value(key, allowed: "text", { $0 }) else { continue }
          try set(key, value, section) { try NodeKeys.set($0, $1, of: &node, in: view) }
        }
        if let groups = try section.list("group", allowed: "groups", { $0 }) {
          try set("group", groups.joined(separator: ","), section) { try NodeKeys.set($0, $1, of: &node, in: view) }
        }
        try readSettings(section, into: &node.settings)
        node.guid = try section.value("seenGUID", allowed: "a GUID of at most 64 characters") {
          $0.utf8.count <= 64 ? $0 : nil
        }
        node.isHeld = try section.bool("held") ?? false
        node.created =
          try section.value("created", allowed: "a time such as 2026-01-31T09:15:00.250Z") { Timestamp($0) } ?? now
        content.nodes.append(node)
        apply(try Registry.changes(from: nil, to: node))
      }
    }
    if let modules = try root.section("modules", allowed: nil) {
      content.activations = try modules.keys.compactMap { name in
        // Which version it was is for whoever reads the file.
        guard let section = try modules.section(name, allowed: ["version", "active"]) else { return nil }
        let roles = try section.list("active", allowed: ModuleRole.allowed) { ModuleRole($0) } ?? []
        if let role = roles.first(where: { $0.node.map { view.node(named: $0) == nil } ?? false }) {
          throw section.error("active", "found \(role), allowed are nodes of this file.")
        }
        return Activation(module: name, roles: Set(roles).sorted(), section: section)
      }
    }
    return content
  }

  private static func readSettings(_ section: YAMLSection, into settings: inout Settings) throws {
    for key in settingKeys {
      guard let value = try section.value(key, allowed: "text", { $0 }) else { continue }
      if key == "vnfs" {
        // It may be imported later: a node whose capsule is not there waits, and is told so.
        guard NodeName.isValidLabel(value) else {
          throw section.error(key, "found '\(value)', allowed are \(NodeKeys.label).")
        }
        settings.vnfs = value
      } else {
        try set(key, value, section) { try NodeKeys.set($0, $1, of: &settings, in: RegistryView()) }
      }
    }
    guard let vars = try section.section("vars", allowed: nil) else { return }
    for name in vars.keys {
      guard let value = try vars.value(name, allowed: "text", { $0 }) else { continue }
      do {
        try NodeKeys.set("var.\(name)", value, of: &settings, in: RegistryView())
      } catch let error as ApplianceError {
        throw vars.error(name, error.message)
      }
    }
  }

  private static func set(
    _ key: String, _ value: String, _ section: YAMLSection, _ body: (String, String) throws -> Void
  ) throws {
    do {
      try body(key, value)
    } catch let error as ApplianceError {
      let name = "\(key): "
      throw section.error(
        key, error.message.hasPrefix(name) ? String(error.message.dropFirst(name.count)) : error.message)
    }
  }
}
