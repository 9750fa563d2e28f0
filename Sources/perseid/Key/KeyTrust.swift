import ArgumentParser
import Capsule
import Provisioner

/// `perseid key trust FILE [NAME]`
struct KeyTrust: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "trust", abstract: "Trust capsules that somebody else has signed.")

  @Argument(help: "The public key: an Ed25519 key in a PEM file.", completion: .file())
  var file: String

  @Argument(help: "The name to give it (default: that of the file).")
  var name: String?

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  func run() async throws {
    let keyring = try KeyCommand.keyring(common)
    let base = file.split(separator: "/").last.map(String.init) ?? file
    let plain = base.hasSuffix(".pub") || base.hasSuffix(".pem") ? String(base.dropLast(4)) : base
    let view = KeyView(try keyring.trust(file, as: name ?? plain), keyring)
    try show(
      output.json ? try JSONText.of(view) : "Capsules signed with \(view.name) (\(view.id)) are trusted from now on.\n")
  }
}
