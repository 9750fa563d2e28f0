import ArgumentParser
import Provisioner

/// `perseid vnfs clone A B`
struct VNFSClone: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "clone", abstract: "Give a capsule another name, under which it goes its own way.")

  @Argument(help: "The capsule, or one of its generations: debian-12, debian-12:3.")
  var capsule: CapsuleReference

  @Argument(help: "The new capsule's name.")
  var name: String

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  func run() async throws {
    let request = try AdminRequest(
      .post, ["vnfs", capsule.name, "clone"], json: CloneCapsule(name: name, generation: capsule.generation))
    let json = try await Access.with(common) { try await $0.json(request) }
    if output.json { return try show(String(decoding: json, as: UTF8.self) + "\n") }
    let view: CapsuleView = try Access.decode(json)
    try show("\(view.name) is a \(view.generations.last?.origin ?? "clone") now.\n")
  }
}
