import ArgumentParser
import Provisioner

/// `perseid node set KEY VALUE NODES...`
struct NodeSet: ShowingVerb {
  static let configuration = CommandConfiguration(
    commandName: "set", abstract: "Set a key of nodes; it holds from their next packet on.",
    discussion: """
      Keys: \(NodeKeys.node.joined(separator: ", ")).
      group takes several with commas between them, the main one first.
      An empty value ("") gives the key back to the group or the defaults.
      """)

  @Argument(help: "The key.", completion: .list(NodeKeys.node))
  var key: String

  @Argument(help: "Its new value.")
  var value: String

  @Argument(help: "The nodes.", completion: Names.nodes)
  var nodes: [String]

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  var request: AdminRequest {
    get throws { try AdminRequest(.patch, ["nodes"], json: SetNodes(nodes: nodes, key: key, value: value)) }
  }

  func text(_ changes: [ChangeView]) -> String { changesText(changes) }
}

/// What was changed, one line each.
func changesText(_ changes: [ChangeView]) -> String {
  changes.map { change in
    let (before, after) = (change.before ?? "(inherited)", change.after ?? "(inherited)")
    return before == after
      ? "\(change.name): \(change.key) is \(after) already\n" : "\(change.name): \(change.key) \(before) -> \(after)\n"
  }.joined()
}
