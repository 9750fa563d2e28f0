import ArgumentParser
import Provisioner

/// `perseid module summary [NAME]`
struct ModuleSummary: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "summary", abstract: "Show each module: where it is active, its scripts, files and variables.")

  @Argument(help: "The modules; all where none is named.", completion: Names.modules)
  var names: [String] = []

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  func run() async throws {
    let names = names
    let modules: [ModuleView] = try await Access.with(common) { access in
      if names.isEmpty { return try await access.get(AdminRequest(.get, ["modules"])) }
      var modules: [ModuleView] = []
      for name in names { modules.append(try await access.get(AdminRequest(.get, ["modules", name]))) }
      return modules
    }
    if modules.isEmpty && !output.json { return try show(ModuleList.words) }
    try show(output.json ? try JSONText.of(modules) : modules.map(Self.text).joined(separator: "\n"))
  }

  private static func text(_ module: ModuleView) -> String {
    var sheet = Sheet()
    sheet.add("name", "\(module.name) \(module.version)")
    sheet.add("description", module.description)
    sheet.add("active", module.active.isEmpty ? "nowhere" : module.active.joined(separator: " "))
    sheet.add("usual", module.roles.joined(separator: " "))
    for script in module.scripts { sheet.add("script", script) }
    for file in module.files {
      let states = file.states.isEmpty ? "" : " in \(file.states.joined(separator: ", "))"
      sheet.add("file", "\(file.path) \(file.owner) \(file.mode), \(file.source)\(states)")
    }
    for variable in module.variables {
      let value = variable.value.map { ", \($0) where not set" } ?? ""
      sheet.add("var.\(variable.name)", "\(variable.type.rawValue)\(value): \(variable.description)")
    }
    return sheet.text
  }
}
