import ArgumentParser
import NetworkTypes
import Provisioner

/// `perseid node list [NODES...]`
struct NodeList: ShowingVerb {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List nodes.")

  @Argument(help: "The nodes (default: all).", completion: Names.nodes)
  var nodes: [String] = []

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  var request: AdminRequest { AdminRequest(.get, ["nodes"], query: AdminRequest.nodes(nodes)) }

  func text(_ nodes: [NodeView]) -> String {
    if nodes.isEmpty { return "There are no nodes yet. Machines become nodes when they boot from this network.\n" }
    var table = Table(["NAME", "MAC", "ADDRESS", "GROUP", "VNFS", "ENABLED"])
    for node in nodes {
      table.add([
        node.name, node.mac?.description, node.address?.description, node.groups.joined(separator: ","), node.vnfs,
        node.held ? "held" : node.enabled ? "yes" : "no",
      ])
    }
    return table.text
  }
}
