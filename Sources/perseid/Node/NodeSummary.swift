import ArgumentParser
import Provisioner

/// `perseid node summary`
struct NodeSummary: ShowingVerb {
  static let configuration = CommandConfiguration(
    commandName: "summary",
    abstract: "Count nodes by state, capsule and group, and name those that are stuck, silent or waiting.")

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  var request: AdminRequest { AdminRequest(.get, ["summary", "nodes"]) }

  func text(_ summary: SummaryView) -> String {
    var sheet = Sheet()
    sheet.add("nodes", "\(summary.nodes), \(summary.enabled) of them enabled")
    for trouble in summary.troubles {
      let more = trouble.count > trouble.nodes.count ? ", ..." : ""
      sheet.add(
        trouble.condition.rawValue,
        "\(trouble.count) in \(trouble.state)" + (trouble.step.map { ", step \($0)" } ?? "") + ": "
          + trouble.nodes.joined(separator: ", ") + more)
    }
    sheet.add("states", countsText(summary.states))
    sheet.add("capsules", countsText(summary.capsules))
    sheet.add("groups", countsText(summary.groups))
    return sheet.text
  }
}

/// `12 ready, 2 init`: the largest first.
func countsText(_ counts: [String: Int]) -> String {
  counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { "\($0.value) \($0.key)" }.joined(separator: ", ")
}
