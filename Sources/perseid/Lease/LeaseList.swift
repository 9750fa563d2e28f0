import ArgumentParser
import Provisioner

/// `perseid lease list`
struct LeaseList: ShowingVerb {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "List who has which address, and until when: nodes and every other machine.",
    discussion: """
      bound: the machine's; declined: found in use by a machine that did not get it here, and given to nobody. \
      With --all also expired and released: remembered for the machine while nobody else needs it.
      """)

  @Flag(name: .long, help: "Those too whose time is over.")
  var all = false

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  var request: AdminRequest { AdminRequest(.get, ["leases"], query: all ? [("all", "")] : []) }

  func text(_ leases: [LeaseView]) throws -> String {
    if leases.isEmpty {
      let isOurs = try common.configuration().dhcp.mode == .authoritative
      return isOurs ? "There are no leases.\n" : "There are no leases: another DHCP server gives the addresses.\n"
    }
    var table = Table(["ADDRESS", "STATE", "MACHINE", "NODE", "HOST NAME", "EXPIRES"])
    for lease in leases {
      table.add([
        "\(lease.address)", lease.state.rawValue, lease.mac.map { "\($0)" } ?? lease.clientid, lease.node,
        lease.hostName, "\(lease.expires)",
      ])
    }
    return table.text
  }
}
