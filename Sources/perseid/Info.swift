import ArgumentParser
import Provisioner

/// `perseid info`
struct Info: ShowingVerb {
  static let configuration = CommandConfiguration(abstract: "Show the appliance's version, configuration and counts.")

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  var request: AdminRequest { AdminRequest(.get, ["info"]) }

  func text(_ info: InfoView) -> String {
    var sheet = Sheet()
    sheet.add("version", info.version)
    sheet.add("configuration", info.configuration)
    sheet.add("state", info.stateDirectory)
    sheet.add("interfaces", info.interfaces.joined(separator: ", "))
    sheet.add("nodes", String(info.nodes))
    sheet.add("groups", String(info.groups))
    sheet.add("capsules", String(info.capsules))
    sheet.add("process", String(info.process))
    return sheet.text
  }
}
