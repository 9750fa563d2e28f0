import ArgumentParser

/// `perseid token`
struct TokenCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "token", abstract: "Who may use the admin API over TCP.",
    subcommands: [TokenCreate.self, TokenList.self, TokenDelete.self])
}
