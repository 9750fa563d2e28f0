import ArgumentParser

/// `perseid registry ...`
struct RegistryCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "registry", abstract: "All nodes and groups as one file.",
    subcommands: [RegistryExport.self, RegistryImport.self])
}
