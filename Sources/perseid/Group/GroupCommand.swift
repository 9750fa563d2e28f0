import ArgumentParser

/// `perseid group ...`
struct GroupCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "group", abstract: "Nodes that share settings.",
    subcommands: [
      GroupList.self, GroupShow.self, GroupSet.self, GroupDelete.self, GroupNodelist.self, GroupStatus.self,
      GroupSummary.self,
    ])
}
