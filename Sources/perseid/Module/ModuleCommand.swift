import ArgumentParser

/// `perseid module ...`
struct ModuleCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "module", abstract: "Scripts and files for nodes, in the states that they are activated for.",
    subcommands: [
      ModuleImport.self, ModuleActivate.self, ModuleDeactivate.self, ModuleList.self, ModuleSummary.self,
      ModuleStates.self, ModuleDelete.self,
    ])
}
