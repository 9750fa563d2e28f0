import ArgumentParser
import Provisioner

/// `perseid module states`
struct ModuleStates: ShowingVerb {
  static let configuration = CommandConfiguration(
    commandName: "states", abstract: "Show each state, and the modules that are active in it.")

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  var request: AdminRequest { AdminRequest(.get, ["summary", "modules"]) }

  func text(_ states: [ModuleStateView]) -> String {
    var table = Table(["STATE", "LEVEL", "MODULES"])
    for state in states {
      for role in state.roles { table.add([state.state, role.level, role.modules.joined(separator: " ")]) }
    }
    return table.text
  }
}
