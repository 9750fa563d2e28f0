import ArgumentParser
import Provisioner

/// `perseid group set KEY VALUE GROUP`
struct GroupSet: ShowingVerb {
  static let configuration = CommandConfiguration(
    commandName: "set", abstract: "Set a key of a group, which is made where it is new.",
    discussion: """
      Keys: \(NodeKeys.group.joined(separator: ", ")).
      An empty value ("") gives the key back to the defaults.
      """)

  @Argument(help: "The key.", completion: .list(NodeKeys.group))
  var key: String

  @Argument(help: "Its new value.")
  var value: String

  @Argument(help: "The group.", completion: Names.groups)
  var group: String

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  var request: AdminRequest {
    get throws { try AdminRequest(.patch, ["groups", group], json: SetGroup(key: key, value: value)) }
  }

  func text(_ changes: [ChangeView]) -> String { changesText(changes) }
}
