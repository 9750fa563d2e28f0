import ArgumentParser
import Provisioner

/// `perseid group delete NAME`
struct GroupDelete: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "delete", abstract: "Forget a group's settings; it must have no nodes.")

  @Argument(help: "The group.", completion: Names.groups)
  var group: String

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  func run() async throws {
    let request = AdminRequest(.get, ["groups", group])
    let _: GroupView = try await Access.with(common) { try await $0.get(request) }
    try common.confirm("Delete the group \(group)?")
    let json = try await Access.with(common) { try await $0.json(AdminRequest(.delete, ["groups", group])) }
    try show(output.json ? String(decoding: json, as: UTF8.self) + "\n" : "Deleted the group \(group).\n")
  }
}
