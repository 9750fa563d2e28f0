import ArgumentParser
import Provisioner

/// `perseid group show NAME`
struct GroupShow: ShowingVerb {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Show what a group sets; - is left to the defaults.")

  @Argument(help: "The group.", completion: Names.groups)
  var group: String

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  var request: AdminRequest { AdminRequest(.get, ["groups", group]) }

  func text(_ group: GroupView) -> String {
    var sheet = Sheet()
    sheet.add("name", group.name)
    sheet.add("nodes", String(group.nodes))
    sheet.add("vnfs", group.vnfs)
    sheet.add("enabled", group.enabled.map { $0 ? "yes" : "no" })
    sheet.add("boot", group.boot?.rawValue)
    sheet.add("root", group.root?.rawValue)
    sheet.add("kernelArgs", group.kernelArgs)
    sheet.add("description", group.description)
    sheet.add("debug", group.debug.map { $0 ? "yes" : "no" })
    for (name, value) in group.vars.sorted(by: { $0.key < $1.key }) { sheet.add("var.\(name)", value) }
    return sheet.text
  }
}
