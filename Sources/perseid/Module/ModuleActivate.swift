import ArgumentParser
import Provisioner

/// `perseid module activate NAME [STATE/LEVEL...]`
struct ModuleActivate: ShowingVerb {
  static let configuration = CommandConfiguration(
    commandName: "activate", abstract: "Activate a module for nodes in a state.",
    discussion: "STATE/all, STATE/group/NAME, STATE/vnfs/NAME, STATE/node/NAME; none: where the module itself says.",
    aliases: ["enable"])

  @Argument(help: "The module.", completion: Names.modules)
  var name: String

  @Argument(help: "Where: init/all, ready/group/gpu, ...", completion: Names.roles)
  var roles: [String] = []

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  var request: AdminRequest {
    get throws { try AdminRequest(.post, ["modules", name, "activate"], json: ModuleRoles(roles: roles)) }
  }

  func text(_ change: ModuleChangeView) -> String { changeText(change, "activated") }
}

func changeText(_ change: ModuleChangeView, _ done: String) -> String {
  let what = change.changed.isEmpty ? "nothing changed" : "\(done) at \(change.changed.joined(separator: ", "))"
  let now = change.active.isEmpty ? "active nowhere" : "active at \(change.active.joined(separator: ", "))"
  return "\(change.name): \(what); \(now)\n" + change.warnings.map { "Warning: \($0)\n" }.joined()
}
