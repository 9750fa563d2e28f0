import ArgumentParser
import Provisioner

/// `perseid group status NAME`
struct GroupStatus: TableVerb {
  static let configuration = CommandConfiguration(
    commandName: "status", abstract: "Show what the nodes of a group do.")

  @Argument(help: "The group.", completion: Names.groups)
  var group: String

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  var request: AdminRequest { AdminRequest(.get, ["groups", group, "status"]) }

  var table: AdminRequest { AdminRequest(.get, ["tables", "groups", group]) }

  static let words = "There are no nodes."
  static let rightAligned = NodeStatus.rightAligned
}
