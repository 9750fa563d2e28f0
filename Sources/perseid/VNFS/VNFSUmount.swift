import ArgumentParser
import Provisioner

/// `perseid vnfs umount NAME`
struct VNFSUmount: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "umount", abstract: "Make the next generation of a mounted capsule's changed tree.")

  @Argument(help: "The capsule.", completion: Names.capsules)
  var capsule: String

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  func run() async throws {
    let view = try await MountWork(capsule, common).umount()
    try show(
      output.json
        ? try JSONText.of(view) : "\(view.name), generation \(view.generation), boots from now on.\n")
  }
}
