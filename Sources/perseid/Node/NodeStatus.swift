import ArgumentParser
import NetworkTypes
import Provisioner

/// `perseid node status [NODES...]`
struct NodeStatus: ShowingVerb {
  static let configuration = CommandConfiguration(
    commandName: "status",
    abstract: "Show what nodes do, and when they were last heard of: stuck and silent ones first.")

  @Argument(help: "The nodes (default: all).", completion: Names.nodes)
  var nodes: [String] = []

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  var request: AdminRequest { AdminRequest(.get, ["status"], query: AdminRequest.nodes(nodes)) }

  func text(_ nodes: [NodeStatusView]) -> String { statusText(nodes) }
}

func statusText(_ nodes: [NodeStatusView]) -> String {
  if nodes.isEmpty { return "There are no nodes.\n" }
  let now = Timestamp.now
  var table = Table(["NAME", "STATE", "ADDRESS", "VNFS", "ROOT", "LAST CONTACT", "STEP"], rightAligned: [5])
  // Who needs somebody first.
  for node in nodes.sorted(by: { ($0.condition, $0.name) < ($1.condition, $1.name) }) {
    let step = [node.condition == .good ? node.step : nil, node.detail].compactMap { $0 }.joined(separator: " ")
    table.add([
      node.name, node.condition == .good ? node.state : "\(node.state) (\(node.condition.rawValue))",
      node.address?.description, node.vnfs, node.root.rawValue,
      node.lastContact.map { Quantity.decimal(max(0, now.seconds(since: $0)), 0) + " s ago" },
      step.split(separator: "\n").first.map { String($0.prefix(80)) },
    ])
  }
  return table.text
}
