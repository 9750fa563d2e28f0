import ArgumentParser
import Provisioner

/// `perseid node list [NODES...]`
struct NodeList: TableVerb {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List nodes.")

  @Argument(help: "The nodes (default: all).", completion: Names.nodes)
  var nodes: [String] = []

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  var request: AdminRequest { AdminRequest(.get, ["nodes"], query: AdminRequest.nodes(nodes)) }

  var table: AdminRequest { AdminRequest(.get, ["tables", "nodes"], query: AdminRequest.nodes(nodes)) }

  static let words = "There are no nodes yet. Machines become nodes when they boot from this network."
}
