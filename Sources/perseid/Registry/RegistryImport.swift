import ArgumentParser
import FoundationEssentials
import Provisioner

/// `perseid registry import FILE`
struct RegistryImport: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "import", abstract: "Make nodes and groups what a file says: all of it, or nothing.",
    discussion: "Nodes and groups that are not in the file are deleted. Capsules are not touched. "
      + "What would be changed is said before it asks.")

  @Argument(help: "A file that 'registry export' wrote, or one like it.", completion: .file(extensions: ["yaml"]))
  var file: String

  @Flag(name: .long, help: "Say what would be changed, and change nothing.")
  var check = false

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  func run() async throws {
    guard let data = try? Data(contentsOf: URL(filePath: file)) else {
      throw ApplianceError(.invalid, "\(file) cannot be read. Name a file that 'perseid registry export FILE' wrote.")
    }
    guard let text = String(bytes: data, encoding: .utf8) else {
      throw ApplianceError(.invalid, "\(file) is not UTF-8 text.")
    }
    let before = try await send(text, onlyChecking: true)
    if check {
      return try show(output.json ? before.json : "It would be: \(before.view.differences).\n\(before.view.missing)")
    }
    try common.confirm("It will be: \(before.view.differences). Make the registry what \(file) says?")
    let done = try await send(text, onlyChecking: false)
    try show(output.json ? done.json : "Done: \(done.view.differences).\n\(done.view.missing)")
  }

  private func send(_ text: String, onlyChecking: Bool) async throws -> (view: ImportView, json: String) {
    let json = try await Access.with(common) {
      try await $0.json(
        try AdminRequest(
          .post, ["registry"], json: ImportRegistry(file: file, text: text, check: onlyChecking ? true : nil)))
    }
    return (try Access.decode(json), String(decoding: json, as: UTF8.self) + "\n")
  }
}

extension ImportView {
  /// `2 nodes added (n0007, n0008); 1 group deleted (old); 12 nodes and 2 groups in all`.
  fileprivate var differences: String {
    func counted(_ count: Int, _ one: String) -> String { "\(count) \(one)\(count == 1 ? "" : "s")" }
    func part(_ names: [String], _ one: String, _ what: String) -> String? {
      guard !names.isEmpty else { return nil }
      let some = names.prefix(10).joined(separator: ", ") + (names.count > 10 ? ", ..." : "")
      return "\(counted(names.count, one)) \(what) (\(some))"
    }
    let parts = [
      part(nodeChanges.removed, "node", "deleted"), part(nodeChanges.changed, "node", "changed"),
      part(nodeChanges.added, "node", "added"), part(groupChanges.removed, "group", "deleted"),
      part(groupChanges.changed, "group", "changed"), part(groupChanges.added, "group", "added"),
      part(moduleChanges, "module", "active elsewhere"),
    ].compactMap(\.self)
    return (parts.isEmpty ? "nothing changed" : parts.joined(separator: "; "))
      + "; \(counted(nodes, "node")) and \(counted(groups, "group")) in all"
  }

  fileprivate var missing: String {
    guard !missingCapsules.isEmpty else { return "" }
    return "These capsules are assigned and not there; import them: \(missingCapsules.joined(separator: ", ")).\n"
  }
}
