import ArgumentParser
import Provisioner

/// `perseid group nodelist NAME`
struct GroupNodelist: ShowingVerb {
  static let configuration = CommandConfiguration(
    commandName: "nodelist", abstract: "List the nodes of a group, a name on each line.")

  @Argument(help: "The group.", completion: Names.groups)
  var group: String

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  var request: AdminRequest { AdminRequest(.get, ["groups", group, "nodes"]) }

  func text(_ nodes: [NodeView]) -> String { nodes.map { $0.name + "\n" }.joined() }
}
