import ArgumentParser
import Provisioner

/// `perseid log`
struct ChangeLog: ShowingVerb {
  static let configuration = CommandConfiguration(
    commandName: "log", abstract: "Show what was changed in the registry, by whom and when.")

  @Option(name: .long, help: "The last so many changes; 10000 are kept.")
  var count = 100

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  func validate() throws {
    guard (1...10_000).contains(count) else { throw ValidationError("--count takes 1 to 10000.") }
  }

  var request: AdminRequest { AdminRequest(.get, ["log"], query: [("count", "\(count)")]) }

  func text(_ changes: [ChangeRecord]) -> String {
    if changes.isEmpty { return "Nothing was changed yet.\n" }
    var table = Table(["AT", "WHO", "WHAT", "CHANGE"])
    for change in changes { table.add([change.at.description, change.who, change.what, change.words]) }
    return table.text
  }
}
