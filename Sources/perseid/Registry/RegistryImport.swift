import ArgumentParser
import FoundationEssentials
import Provisioner

/// `perseid registry import FILE`
struct RegistryImport: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "import", abstract: "Make nodes and groups what a file says: all of it, or nothing.",
    discussion: "Nodes and groups that are not in the file are deleted. Capsules are not touched.")

  @Argument(help: "A file that 'registry export' wrote, or one like it.", completion: .file(extensions: ["yaml"]))
  var file: String

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  func run() async throws {
    guard let data = try? Data(contentsOf: URL(filePath: file)) else {
      throw ApplianceError(.invalid, "\(file) cannot be read. Name a file that 'perseid registry export FILE' wrote.")
    }
    guard let text = String(bytes: data, encoding: .utf8) else {
      throw ApplianceError(.invalid, "\(file) is not UTF-8 text.")
    }
    try common.confirm("Replace all nodes and groups by those of \(file)?")
    let json = try await Access.with(common) {
      try await $0.json(try AdminRequest(.post, ["registry"], json: ImportRegistry(file: file, text: text)))
    }
    if output.json { return try show(String(decoding: json, as: UTF8.self) + "\n") }
    let done: ImportView = try Access.decode(json)
    var words = "\(done.nodes) nodes and \(done.groups) groups; \(done.removedNodes) nodes and "
    words += "\(done.removedGroups) groups that were there are gone.\n"
    if !done.missingCapsules.isEmpty {
      words +=
        "These capsules are assigned and not there; import them: \(done.missingCapsules.joined(separator: ", ")).\n"
    }
    try show(words)
  }
}
