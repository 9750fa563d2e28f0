import ArgumentParser
import Capsule
import Provisioner

/// `perseid key create NAME`
struct KeyCreate: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "create", abstract: "Make an Ed25519 key to sign capsules with.")

  @Argument(help: "The key's name.")
  var name: String

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  func run() async throws {
    let keyring = try KeyCommand.keyring(common)
    let view = KeyView(try keyring.create(name), keyring)
    try show(
      output.json
        ? try JSONText.of(view)
        : "Made the key \(name). Give \(view.file) to those who are to trust what it signs.\n")
  }
}
