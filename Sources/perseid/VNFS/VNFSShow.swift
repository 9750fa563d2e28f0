import ArgumentParser
import Provisioner

/// `perseid vnfs show NAME`
struct VNFSShow: ShowingVerb {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Show a capsule and its generations.")

  @Argument(help: "The capsule.", completion: Names.capsules)
  var capsule: String

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  var request: AdminRequest { AdminRequest(.get, ["vnfs", capsule]) }

  func text(_ capsule: CapsuleView) -> String {
    var sheet = Sheet()
    sheet.add("name", capsule.name)
    sheet.add("version", capsule.version)
    sheet.add("system", capsule.operatingSystem)
    sheet.add("kernel", capsule.kernel)
    sheet.add("architecture", capsule.architecture)
    sheet.add("generation", String(capsule.generation))
    sheet.add("digest", capsule.digest)
    sheet.add(
      "signed by",
      capsule.generations.first { $0.generation == capsule.generation }?.signedBy.joined(separator: ", "))
    sheet.add("size", Quantity.bytes(capsule.bytes))
    sheet.add("nodes", String(capsule.nodes))
    sheet.add("created", capsule.created.description)
    sheet.add(
      "mounted at",
      capsule.mountState == "interrupted" ? "interrupted: perseid vnfs close \(capsule.name)" : capsule.mountPath)
    return sheet.text + "\n" + GenerationTable.text(capsule.generations)
  }
}
