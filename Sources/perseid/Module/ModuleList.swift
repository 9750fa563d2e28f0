import ArgumentParser
import Provisioner

/// `perseid module list`
struct ModuleList: ShowingVerb {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List modules.")

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  var request: AdminRequest { AdminRequest(.get, ["modules"]) }

  func text(_ modules: [ModuleView]) -> String {
    var table = Table(["NAME", "VERSION", "ACTIVE", "DESCRIPTION"])
    for module in modules {
      table.add([module.name, module.version, module.active.joined(separator: " "), module.description])
    }
    return table.text
  }
}
