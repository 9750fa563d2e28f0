import ArgumentParser
import NetworkTypes
import Provisioner

/// `perseid node replace OLD NEW`
struct NodeReplace: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "replace", abstract: "Put another machine in a node's place.",
    discussion: """
      OLD keeps its name, groups, settings and fixed address, and has the machine of NEW from then on: a node, which \
      is no more, or the hardware address of a machine that is no node.
      """)

  @Argument(help: "The node that stays.", completion: Names.nodes)
  var old: String

  @Argument(help: "The node, or the hardware address, of the machine that takes its place.", completion: Names.nodes)
  var new: String

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  func run() async throws {
    let gone = MACAddress(new) == nil ? " There will be no node \(new)." : ""
    try common.confirm("Put the machine \(new) in the place of \(old)?\(gone)")
    let json = try await Access.with(common) {
      try await $0.json(try AdminRequest(.post, ["nodes", old, "replace"], json: ReplaceNode(by: new)))
    }
    if output.json { return try show(String(decoding: json, as: UTF8.self) + "\n") }
    let node: NodeView = try Access.decode(json)
    try show("\(node.name) is the machine \(node.macs.map(\.description).joined(separator: ", ")) now.\n")
  }
}
