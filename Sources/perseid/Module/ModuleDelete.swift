import ArgumentParser
import Provisioner

/// `perseid module delete NAME`
struct ModuleDelete: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "delete", abstract: "Forget a module; it must be active nowhere.")

  @Argument(help: "The module.", completion: Names.modules)
  var name: String

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  func run() async throws {
    let _: ModuleView = try await Access.with(common) { try await $0.get(AdminRequest(.get, ["modules", name])) }
    try common.confirm("Delete the module \(name)?")
    let json = try await Access.with(common) { try await $0.json(AdminRequest(.delete, ["modules", name])) }
    try show(output.json ? String(decoding: json, as: UTF8.self) + "\n" : "Deleted the module \(name).\n")
  }
}
