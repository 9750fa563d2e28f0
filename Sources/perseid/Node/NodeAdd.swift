import ArgumentParser
import NetworkTypes
import Provisioner

/// `perseid node add MAC [NAME]`
struct NodeAdd: ShowingVerb {
  static let configuration = CommandConfiguration(
    commandName: "add", abstract: "Make a node of a machine before it boots.")

  @Argument(help: "The hardware address of the card it boots from; more of its cards behind commas.")
  var mac: String

  @Argument(help: "Its name (default: the next free one).")
  var name: String?

  @Option(name: .long, help: "Its capsule.", completion: Names.capsules)
  var vnfs: String?

  @Option(
    name: .long, help: "Its group; several with commas between them, the main one first.", completion: Names.groups)
  var group: String?

  @Option(name: .long, help: "Its GUID (dmidecode -s system-uuid): it is this node whatever card it boots from.")
  var guid: String?

  @Option(name: .long, help: "Its DHCP client identifier in hexadecimal digits, as InfiniBand cards have it.")
  var clientid: String?

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  var request: AdminRequest {
    get throws {
      try AdminRequest(
        .post, ["nodes"],
        json: AddNode(mac: mac, name: name, vnfs: vnfs, group: group, guid: guid, clientid: clientid))
    }
  }

  func text(_ node: NodeView) -> String {
    "\(node.name) is added: \(node.mac?.description ?? mac), group \(node.groups.joined(separator: ", ")), capsule \(node.vnfs).\n"
  }
}
