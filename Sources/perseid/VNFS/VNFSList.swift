import ArgumentParser
import Provisioner

/// `perseid vnfs list`
struct VNFSList: ShowingVerb {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List capsules.")

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  var request: AdminRequest { AdminRequest(.get, ["vnfs"]) }

  func text(_ capsules: [CapsuleView]) -> String {
    if capsules.isEmpty { return "There are no capsules yet. Make one: perseid vnfs import DIRECTORY|TAR\n" }
    var table = Table(["NAME", "GENERATION", "KERNEL", "SIZE", "NODES", "MOUNT", "SYSTEM"], rightAligned: [1, 3, 4])
    for capsule in capsules {
      table.add([
        capsule.name, String(capsule.generation), capsule.kernel, Quantity.bytes(capsule.bytes), String(capsule.nodes),
        capsule.mountState, capsule.operatingSystem,
      ])
    }
    return table.text
  }
}
