import ArgumentParser
import Provisioner

/// `perseid vnfs history NAME`
struct VNFSHistory: ShowingVerb {
  static let configuration = CommandConfiguration(
    commandName: "history", abstract: "Show the generations of a capsule, the oldest first.")

  @Argument(help: "The capsule.", completion: Names.capsules)
  var capsule: String

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  var request: AdminRequest { AdminRequest(.get, ["vnfs", capsule, "history"]) }

  func text(_ generations: [CapsuleView.GenerationView]) -> String { GenerationTable.text(generations) }
}
