import ArgumentParser
import Provisioner

/// `perseid group list`
struct GroupList: ShowingVerb {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List groups.")

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  var request: AdminRequest { AdminRequest(.get, ["groups"]) }

  func text(_ groups: [GroupView]) -> String {
    var table = Table(["NAME", "NODES", "VNFS", "ENABLED", "DESCRIPTION"], rightAligned: [1])
    for group in groups {
      table.add([
        group.name, String(group.nodes), group.vnfs, group.enabled.map { $0 ? "yes" : "no" }, group.description,
      ])
    }
    return table.text
  }
}
