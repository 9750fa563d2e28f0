import ArgumentParser
import Provisioner

/// `perseid token list`
struct TokenList: ShowingVerb {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "List tokens: never the tokens themselves.")

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  var request: AdminRequest { AdminRequest(.get, ["tokens"]) }

  func text(_ tokens: [TokenView]) -> String {
    if tokens.isEmpty { return "There are no tokens. perseid token create NAME --role read makes one.\n" }
    var table = Table(["NAME", "ROLE", "CREATED", "EXPIRES"])
    for token in tokens {
      let expires = token.expires.map { "\($0)" + (token.isExpired ? " (expired)" : "") }
      table.add([token.name, token.role.rawValue, "\(token.created)", expires])
    }
    return table.text
  }
}
