import ArgumentParser
import NetworkTypes
import Provisioner

/// `perseid node timeline NAME`
struct NodeTimeline: ShowingVerb {
  static let configuration = CommandConfiguration(
    commandName: "timeline", abstract: "Show every stage of a node's boot, with the seconds each took.")

  @Argument(help: "The node.", completion: Names.nodes)
  var node: String

  @Option(name: .long, help: "The boot (default: the last one).")
  var boot: String?

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  var request: AdminRequest {
    AdminRequest(.get, ["nodes", node, "timeline"], query: boot.map { [("boot", $0)] } ?? [])
  }

  func text(_ events: [TimelineEvent]) -> String {
    guard let first = events.first else { return "\(node) has not booted yet.\n" }
    let boot = events.lazy.compactMap(\.boot).first.map { "boot \($0)" }
    let title = [node, boot, first.mac?.description, "from \(first.at)"]
    let view = TimelineView(start: first.at, events: events, width: terminalWidth())
    return title.compactMap { $0 }.joined(separator: ", ") + "\n\n" + view.heading
      + events.map(view.line).joined() + "\n" + BootStages(events).text
  }
}
