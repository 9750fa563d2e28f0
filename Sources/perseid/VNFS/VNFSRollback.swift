import ArgumentParser
import Provisioner

/// `perseid vnfs rollback NAME [GENERATION]`
struct VNFSRollback: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rollback", abstract: "Let another generation of a capsule boot from now on.",
    discussion: "Nodes that run or boot keep the generation they have until they boot again.")

  @Argument(help: "The capsule.", completion: Names.capsules)
  var capsule: String

  @Argument(help: "The generation (default: the one before the one that boots now).")
  var generation: Int?

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  func run() async throws {
    let request = AdminRequest(.get, ["vnfs", capsule])
    let found: CapsuleView = try await Access.with(common) { try await $0.get(request) }
    let target = generation ?? found.generations.map(\.generation).filter { $0 < found.generation }.max()
    guard let target else {
      throw ApplianceError(
        .refused,
        "There is no generation of \(capsule) before \(found.generation), which boots now. "
          + "perseid vnfs history \(capsule) shows those there are.")
    }
    guard found.generations.contains(where: { $0.generation == target }) else {
      throw ApplianceError(
        .notFound,
        "There is no generation \(target) of \(capsule). perseid vnfs history \(capsule) shows those there are.")
    }
    try common.confirm("Let generation \(target) of \(capsule) boot from now on, in place of \(found.generation)?")
    let change = try AdminRequest(.post, ["vnfs", capsule, "rollback"], json: RollBack(generation: target))
    let json = try await Access.with(common) { try await $0.json(change) }
    try show(
      output.json
        ? String(decoding: json, as: UTF8.self) + "\n" : "Generation \(target) of \(capsule) boots from now on.\n")
  }
}
