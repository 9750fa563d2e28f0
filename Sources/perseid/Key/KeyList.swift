import ArgumentParser
import Capsule
import Provisioner

/// `perseid key list`
struct KeyList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "List the keys whose signatures are trusted.")

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  func run() async throws {
    let keyring = try KeyCommand.keyring(common)
    let views = try keyring.entries().map { KeyView($0, keyring) }
    if output.json { return try show(try JSONText.of(views)) }
    if views.isEmpty { return try show("There are no keys. Make one: perseid key create NAME\n") }
    var table = Table(["NAME", "SIGNS", "FILE", "ID"])
    for view in views { table.add([view.name, view.canSign ? "yes" : "no", view.file, view.id]) }
    try show(table.text)
  }
}
