import ArgumentParser
import FoundationEssentials
import Provisioner

/// `perseid registry export [FILE]`
struct RegistryExport: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export", abstract: "Write all nodes and groups as YAML, in an order that does not change.")

  @Argument(help: "The file (default: standard output).", completion: .file(extensions: ["yaml"]))
  var file: String?

  @OptionGroup var common: CommonOptions

  func run() async throws {
    let registry: RegistryText = try await Access.with(common) { try await $0.get(AdminRequest(.get, ["registry"])) }
    guard let file, file != "-" else { return try show(registry.text) }
    do {
      try Data(registry.text.utf8).write(to: URL(filePath: file), options: .atomic)
    } catch {
      throw ApplianceError(.failed, "\(file) cannot be written. Check that its directory is there and has space.")
    }
  }
}
