import ArgumentParser
import Capsule
import Provisioner

/// `perseid key delete NAME`
struct KeyDelete: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "delete", abstract: "Forget a key; what it has signed is not trusted any more.")

  @Argument(help: "The key.")
  var name: String

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  func run() async throws {
    let keyring = try KeyCommand.keyring(common)
    let entry = try keyring.entry(name)
    try common.confirm(
      entry.canSign
        ? "Delete the key \(name)? Nobody can sign with it any more." : "Trust the key \(name) no more?")
    let view = KeyView(try keyring.delete(name), keyring)
    try show(output.json ? try JSONText.of(view) : "Deleted the key \(name).\n")
  }
}
