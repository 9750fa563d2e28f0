import ArgumentParser
import Provisioner

/// `perseid node delete NODES...`
struct NodeDelete: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "delete", abstract: "Forget nodes, with their settings and timelines.")

  @Argument(help: "The nodes.", completion: Names.nodes)
  var nodes: [String]

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  func run() async throws {
    let query = AdminRequest.nodes(nodes)
    let found: [NodeView] = try await Access.with(common) {
      try await $0.get(AdminRequest(.get, ["nodes"], query: query))
    }
    let some = found.prefix(5).map(\.name).joined(separator: ", ") + (found.count > 5 ? ", ..." : "")
    try common.confirm("Delete \(found.count) node\(found.count == 1 ? "" : "s") (\(some))?")
    // By the names that were asked about: a pattern may fit more nodes by now.
    let names = AdminRequest.nodes(found.map(\.name))
    let json = try await Access.with(common) { try await $0.json(AdminRequest(.delete, ["nodes"], query: names)) }
    if output.json { return try show(String(decoding: json, as: UTF8.self) + "\n") }
    let deleted: [NodeView] = try Access.decode(json)
    try show("Deleted \(deleted.count) node\(deleted.count == 1 ? "" : "s").\n")
  }
}
