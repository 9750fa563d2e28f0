import ArgumentParser
import NetworkTypes
import Provisioner

/// `perseid node show NODES...`
struct NodeShow: ShowingVerb {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Show all settings of nodes.")

  @Argument(help: "The nodes.", completion: Names.nodes)
  var nodes: [String]

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  var request: AdminRequest { AdminRequest(.get, ["nodes"], query: AdminRequest.nodes(nodes)) }

  func text(_ nodes: [NodeView]) -> String {
    nodes.map { node in
      var sheet = Sheet()
      sheet.add("name", node.name)
      sheet.add("mac", node.macs.map(\.description).joined(separator: ", "))
      sheet.add("guid", node.guid)
      sheet.add("clientid", node.clientid)
      sheet.add("address", node.address.map { "\($0)" + ($0 == node.fixedAddress ? " (fixed)" : "") })
      sheet.add("group", node.groups.joined(separator: ", "))
      sheet.add("vnfs", node.vnfs)
      sheet.add("enabled", node.enabled ? "yes" : "no")
      sheet.add("boot", node.boot.rawValue)
      sheet.add("root", node.root.rawValue)
      sheet.add("kernelArgs", node.kernelArgs)
      sheet.add("description", node.description)
      sheet.add("debug", node.debug ? "yes" : "no")
      for (name, value) in node.vars.sorted(by: { $0.key < $1.key }) { sheet.add("var.\(name)", value) }
      sheet.add("created", node.created.description)
      return sheet.text
    }.joined(separator: "\n")
  }
}
