import ArgumentParser
import Provisioner

/// `perseid node log NAME`
struct NodeLog: ShowingVerb {
  static let configuration = CommandConfiguration(
    commandName: "log", abstract: "Show what a node reported in its last boots, and what was changed about it.")

  @Argument(help: "The node.", completion: Names.nodes)
  var node: String

  @Option(name: .long, help: "The last so many lines.")
  var count = 200

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  func validate() throws {
    guard (1...100_000).contains(count) else { throw ValidationError("--count takes 1 to 100000.") }
  }

  var request: AdminRequest { AdminRequest(.get, ["nodes", node, "log"], query: [("count", "\(count)")]) }

  func text(_ entries: [LogEntry]) -> String {
    if entries.isEmpty { return "\(node) has reported nothing yet.\n" }
    var text = ""
    for entry in entries {
      let who = entry.who.map { "\($0): " } ?? ""
      let isChange = entry.source == "change"
      let lines = entry.detail.split(separator: "\n", omittingEmptySubsequences: true)
      text += "\(entry.at)  \(entry.source)  \(isChange ? "" : entry.event + "  ")\(who)\(lines.first ?? "")\n"
      for line in lines.dropFirst() { text += "    \(line)\n" }
    }
    return text
  }
}
