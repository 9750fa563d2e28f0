import ArgumentParser
import Provisioner

/// `perseid module list`
struct ModuleList: ShowingVerb {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List modules.")

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  var request: AdminRequest { AdminRequest(.get, ["modules"]) }

  func text(_ modules: [ModuleView]) -> String {
    if modules.isEmpty { return Self.words }
    var table = Table(["NAME", "VERSION", "ACTIVE", "DESCRIPTION"])
    for module in modules {
      table.add([module.name, module.version, module.active.joined(separator: " "), module.description])
    }
    return table.text
  }

  /// Where there is none yet.
  static var words: String {
    let names = Companions.moduleNames
    return "There are no modules yet. perseid module import SOURCE takes one in: a directory or an archive"
      + (names.isEmpty ? "" : ", or one that comes with perseid (\(names.joined(separator: ", ")))") + ".\n"
  }
}
