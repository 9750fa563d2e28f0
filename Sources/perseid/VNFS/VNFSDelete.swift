import ArgumentParser
import Provisioner

/// `perseid vnfs delete NAME`
struct VNFSDelete: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "delete", abstract: "Forget a capsule; no node or group may be assigned to it.")

  @Argument(help: "The capsule.", completion: Names.capsules)
  var capsule: String

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  func run() async throws {
    let request = AdminRequest(.get, ["vnfs", capsule])
    let found: CapsuleView = try await Access.with(common) { try await $0.get(request) }
    let count = found.generations.count
    try common.confirm("Delete the capsule \(capsule) with its \(count) generation\(count == 1 ? "" : "s")?")
    let json = try await Access.with(common) { try await $0.json(AdminRequest(.delete, ["vnfs", capsule])) }
    try show(output.json ? String(decoding: json, as: UTF8.self) + "\n" : "Deleted the capsule \(capsule).\n")
  }
}
