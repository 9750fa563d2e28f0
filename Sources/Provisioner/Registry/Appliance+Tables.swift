import NetworkTypes

extension Appliance {
  /// What `perseid node list` shows.
  package func nodeTable(_ patterns: [String]) throws -> TableView {
    TableView(
      ["NAME", "MAC", "ADDRESS", "GROUP", "VNFS", "ENABLED"],
      rows: try select(patterns).map { node in
        [
          node.name, node.node.macs.first?.description ?? "", address(of: node)?.description ?? "",
          node.groups.joined(separator: ","), node.vnfs, node.node.isHeld ? "held" : node.enabled ? "yes" : "no",
        ]
      })
  }

  /// What `perseid node status` shows: first who needs somebody.
  package func statusTable(_ patterns: [String]) throws -> TableView { statusTable(of: try select(patterns)) }

  /// What `perseid group status` shows.
  package func groupStatusTable(_ name: String) throws -> TableView { statusTable(of: try members(name)) }

  private func statusTable(of nodes: [EffectiveNode]) -> TableView {
    let now = Moment.now
    let nodes = nodes.map { status($0, now) }
    return TableView(
      ["NAME", "STATE", "ADDRESS", "VNFS", "ROOT", "LAST CONTACT", "STEP"],
      rows: nodes.sorted { ($0.condition, $0.name) < ($1.condition, $1.name) }.map { node in
        let step = [node.condition == .good ? node.step : nil, node.detail].compactMap { $0 }.joined(separator: " ")
        return [
          node.name, node.condition == .good ? node.state : "\(node.state) (\(node.condition.rawValue))",
          node.address?.description ?? "", node.vnfs + (node.synchronised.map { ":\($0)" } ?? ""), node.root.rawValue,
          node.lastContact.map { "\(Int64(max(0, now.time.seconds(since: $0)).rounded())) s ago" } ?? "",
          step.split(separator: "\n").first.map { String($0.prefix(80)) } ?? "",
        ]
      })
  }
}
