import ArgumentParser
import Provisioner

/// `perseid token delete NAME`
struct TokenDelete: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "delete", abstract: "Forget a token: whoever has it is refused from now on.")

  @Argument(help: "The token's name.", completion: Names.tokens)
  var name: String

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  func run() async throws {
    try common.confirm("Delete the token \(name)?")
    let json = try await Access.with(common) { try await $0.json(AdminRequest(.delete, ["tokens", name])) }
    try show(output.json ? String(decoding: json, as: UTF8.self) + "\n" : "Deleted the token \(name).\n")
  }
}
