import ArgumentParser
import Provisioner

/// `perseid group summary`
struct GroupSummary: ShowingVerb {
  static let configuration = CommandConfiguration(
    commandName: "summary", abstract: "Count the nodes of each group by state.")

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  var request: AdminRequest { AdminRequest(.get, ["summary", "groups"]) }

  func text(_ groups: [GroupSummaryView]) -> String {
    var table = Table(["GROUP", "NODES", "STATES"], rightAligned: [1])
    for group in groups { table.add([group.name, String(group.nodes), countsText(group.states)]) }
    return table.text
  }
}
