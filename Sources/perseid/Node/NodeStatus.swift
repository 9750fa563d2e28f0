import ArgumentParser
import Provisioner

/// `perseid node status [NODES...]`
struct NodeStatus: TableVerb {
  static let configuration = CommandConfiguration(
    commandName: "status",
    abstract: "Show what nodes do, and when they were last heard of: stuck and silent ones first.")

  @Argument(help: "The nodes (default: all).", completion: Names.nodes)
  var nodes: [String] = []

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  var request: AdminRequest { AdminRequest(.get, ["status"], query: AdminRequest.nodes(nodes)) }

  var table: AdminRequest { AdminRequest(.get, ["tables", "status"], query: AdminRequest.nodes(nodes)) }

  static let words = "There are no nodes."
  static let rightAligned: Set<Int> = [5]
}
