import ArgumentParser
import Capsule
import CapsuleFormat
import Provisioner

/// `perseid vnfs build RECIPE.yaml [--name N]`: the tree is made here, beside a running appliance.
struct VNFSBuild: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "build", abstract: "Make a root file system after a recipe, and a capsule of it.",
    discussion: "It needs root: a tree's files belong to many users, and the recipe's commands run in a chroot of it.")

  @Argument(help: "The recipe.", completion: .file(extensions: ["yaml", "yml"]))
  var recipe: String

  @Option(name: .long, help: "The capsule's name (default: the recipe's, else after the tree's os-release).")
  var name: String?

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  func run() async throws {
    let configuration = try common.configuration()
    let recipe = try Recipe.load(path: recipe)
    var request = BuildRequest(
      source: "", nodeExecutable: try Companions.nodeExecutable(), busybox: try Companions.busybox())
    request.name = name
    let start = ContinuousClock.now
    let progress = ImportProgress()
    let capsule: StoredCapsule
    do {
      defer { progress.finish() }
      capsule = try await interruptible { [request] in
        let builder = RecipeBuilder(store: try ContentStore(directory: configuration.paths.state))
        return try await builder.build(recipe, request) { progress.report($0) }
      }
    }
    try await VNFSImport.register(capsule, capsule.config.name, common, output, since: start)
  }
}
