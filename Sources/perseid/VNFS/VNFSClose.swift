import ArgumentParser
import Capsule
import Provisioner

/// `perseid vnfs close NAME`
struct VNFSClose: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "close", abstract: "Throw away a mounted capsule's tree, with all that was changed in it.")

  @Argument(help: "The capsule.", completion: Names.capsules)
  var capsule: String

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  private struct Closed: Encodable {
    var name: String
    var path: String
  }

  func run() async throws {
    let work = try MountWork(capsule, common)
    guard work.mounts.record(of: capsule) != nil else {
      throw ApplianceError(.refused, "The capsule \(capsule) is not mounted: there is nothing to close.")
    }
    try common.confirm("Throw away all that was changed in \(work.path)?")
    try await work.close()
    try show(
      output.json ? try JSONText.of(Closed(name: capsule, path: work.path)) : "Closed \(capsule); nothing was kept.\n")
  }
}
