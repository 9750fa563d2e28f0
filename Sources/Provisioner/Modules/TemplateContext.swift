import Mustache
import NetworkTypes

/// Names that templates find, and that are no variables of nodes.
package enum TemplateNames {
  package static let own: Set<String> = ["node", "nodes", "appliance", "state", "var"]
}

/// What the tags of a template stand for: the node, its variables with their types, the appliance, all nodes.
///
/// Used by one rendering on one thread: it notes what was asked for and is not there.
package final class TemplateContext: MustacheParent {
  package let node: EffectiveNode
  private let values: [String: Any]
  private let variables: [String: VariableType.Value]
  private let declared: Set<String>
  private let directory: NodeDirectory
  private let facts: Reads.Facts
  private(set) package var missing: [String] = []
  private(set) package var reads = Reads()

  /// What a rendering depended on.
  package struct Reads: Sendable {
    /// Which can be the same for many nodes.
    struct Facts: Hashable {
      var state: String
      var server: IPv4Address
    }

    /// Something of the one node that it is for.
    fileprivate(set) var isOfNode = false
    /// The list of all nodes that it had.
    fileprivate(set) var directory: Int?
    fileprivate var facts: Facts?
    fileprivate var variables: [String: VariableType.Value?] = [:]
  }

  /// Whether a rendering that read this comes out the same here.
  package func hasSame(_ reads: Reads) -> Bool {
    !reads.isOfNode && (reads.directory == nil || reads.directory == directory.revision)
      && (reads.facts == nil || reads.facts == facts)
      && reads.variables.allSatisfy { name, value in
        variables[name] == value && (value != nil || declared.contains(name))
      }
  }

  /// - Parameter variables: Those that have a value; a text where the module does not declare them.
  /// - Parameter declared: Those that a module declares, with and without a value.
  /// - Parameter directory: Every node, asked for only where a template wants them.
  package init(
    subject: PlanMaker.Subject, variables: [String: VariableType.Value], declared: Set<String>, port: Int,
    directory: NodeDirectory
  ) {
    node = subject.node
    self.variables = variables
    self.declared = declared
    self.directory = directory
    facts = Reads.Facts(state: subject.state, server: subject.server)
    let mac = (subject.boot?.mac ?? subject.node.node.macs.first)?.description
    let item = NodeItem(
      name: subject.node.name, address: subject.address.description, mac: mac,
      macs: subject.node.node.macs.map(\.description), groups: subject.node.groups,
      more: [
        "vnfs": subject.vnfs, "guid": subject.node.node.ownGUID ?? subject.node.node.guid ?? "",
        "kernelArgs": subject.node.kernelArgs, "description": subject.node.node.settings.description ?? "",
      ])
    values = [
      "node": item, "state": subject.state,
      "appliance": Fields(["address": subject.server.description, "port": String(port)]),
    ]
  }

  package func isDeclared(_ name: String) -> Bool { declared.contains(name) }

  package func child(named name: String) -> Any? {
    if let value = values[name] {
      if name == "node" { reads.isOfNode = true } else { reads.facts = facts }
      return value
    }
    if name == "nodes" {
      let (revision, items) = directory.items()
      reads.directory = min(reads.directory ?? revision, revision)
      return items
    }
    if name == "var" { return Variables(context: self) }
    return variable(name)
  }

  fileprivate func variable(_ name: String) -> Any? {
    reads.variables.updateValue(variables[name], forKey: name)
    switch variables[name] {
    case .text(let text): return text.isEmpty ? Absent(name: name, text: "") : text
    case .integer(let number): return number
    case .boolean(let isTrue): return isTrue
    case .list(let words): return words
    case nil:
      guard declared.contains(name) else {
        if missing.count < 16 { missing.append(name) }
        return nil
      }
      return Absent(name: name) { [weak self] in self?.missing.append(name) }
    }
  }

  fileprivate struct Variables: MustacheParent {
    unowned let context: TemplateContext

    func child(named name: String) -> Any? { context.variable(name) }
  }

  /// A value that is not there: no section of it, and an error where its text is asked for.
  fileprivate struct Absent: MustacheCustomRenderable {
    var name: String
    var text = ""
    var noted: () -> Void = {}

    init(name: String, text: String) {
      self.name = name
      self.text = text
    }

    init(name: String, noted: @escaping () -> Void) {
      self.name = name
      self.noted = noted
    }

    var isNull: Bool { true }
    var renderText: String {
      noted()
      return text
    }
  }
}

/// A node, as one of the list `nodes`, and as `node`.
package final class NodeItem: MustacheParent, Sendable {
  package let name: String
  private let address: String?
  private let mac: String?
  private let macs: [String]
  private let groups: [String]
  private let more: [String: String]

  package init(
    name: String, address: String?, mac: String?, macs: [String], groups: [String], more: [String: String] = [:]
  ) {
    self.name = name
    self.address = address
    self.mac = mac
    self.macs = macs
    self.groups = groups
    self.more = more
  }

  /// Names without a value are no section and no text: the nodes of a list do not all have an address yet.
  package func child(named name: String) -> Any? {
    switch name {
    case "name": self.name
    case "number": number
    case "address": address ?? Nothing()
    case "mac": mac ?? Nothing()
    case "macs": macs
    case "group": groups.first ?? Nothing()
    case "groups": groups
    default: more[name].map { $0.isEmpty ? Nothing() : $0 as Any }
    }
  }

  /// The digits at the end of the name, without leading zeros.
  private var number: String {
    let digits = String(name.reversed().prefix { $0.isASCII && $0.isNumber }.reversed())
    return Int(digits).map(String.init) ?? digits
  }

  private struct Nothing: MustacheCustomRenderable {
    var isNull: Bool { true }
    var renderText: String { "" }
  }
}

private struct Fields: MustacheParent {
  let values: [String: String]

  init(_ values: [String: String]) { self.values = values }

  func child(named name: String) -> Any? { values[name] }
}
