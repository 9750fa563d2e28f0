import ArgumentParser
import Provisioner

/// `perseid module deactivate NAME [STATE/LEVEL...]`
struct ModuleDeactivate: ShowingVerb {
  static let configuration = CommandConfiguration(
    commandName: "deactivate", abstract: "Deactivate a module: everywhere where no STATE/LEVEL is named.",
    aliases: ["disable"])

  @Argument(help: "The module.", completion: Names.modules)
  var name: String

  @Argument(help: "Where: init/all, ready/group/gpu, ...", completion: Names.roles)
  var roles: [String] = []

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  var request: AdminRequest {
    get throws { try AdminRequest(.post, ["modules", name, "deactivate"], json: ModuleRoles(roles: roles)) }
  }

  func text(_ change: ModuleChangeView) -> String { changeText(change, "deactivated") }
}
