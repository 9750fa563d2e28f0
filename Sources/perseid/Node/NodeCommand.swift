import ArgumentParser

/// `perseid node ...`
struct NodeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "node", abstract: "The machines of the cluster.",
    discussion: "Nodes are named by patterns: n0001, n00[00-97,99-199], n1*, @group.",
    subcommands: [
      NodeAdd.self, NodeDelete.self, NodeList.self, NodeSet.self, NodeShow.self, NodeStatus.self, NodeSummary.self,
      NodeTimeline.self, NodeLog.self, NodeReplace.self, NodeTraceVerb.self, NodeWhy.self,
    ])
}
