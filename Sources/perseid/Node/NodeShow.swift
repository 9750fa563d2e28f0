import ArgumentParser
import NetworkTypes
import Provisioner
import StateProtocol

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
      if let facts = node.facts { add(facts, to: &sheet) }
      return sheet.text
    }.joined(separator: "\n")
  }

  private func add(_ facts: Facts, to sheet: inout Sheet) {
    let machine = [facts.vendor, facts.product, facts.serial.map { "serial number \($0)" }].compactMap { $0 }
    sheet.add("machine", machine.joined(separator: ", "))
    sheet.add("processors", String(facts.processors))
    sheet.add("memory", Quantity.bytes(facts.memoryBytes))
    for disk in facts.disks ?? [] {
      sheet.add("disk \(disk.name)", Quantity.bytes(disk.bytes) + (disk.model.map { ", \($0)" } ?? ""))
    }
    for link in facts.links ?? [] {
      let words = [link.mac.description, link.speed.map { "\($0) Mb/s" }, link.driver].compactMap { $0 }
      sheet.add("link \(link.name)", words.joined(separator: ", "))
    }
    sheet.add("kernel", facts.kernelRelease)
    sheet.add("running", facts.generation)
  }
}
