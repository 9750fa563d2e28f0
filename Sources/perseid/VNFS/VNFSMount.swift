import ArgumentParser
import Provisioner

/// `perseid vnfs mount NAME`
struct VNFSMount: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "mount", abstract: "Unpack a capsule's root file system, to change it.",
    discussion: "`umount` then makes the next generation of it, `close` throws the changes away.")

  @Argument(help: "The capsule, or one of its generations: debian-12, debian-12:3.")
  var capsule: CapsuleReference

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  func run() async throws {
    let work = try MountWork(capsule.name, common)
    let target = try await work.mount(generation: capsule.generation)
    if output.json {
      let json = try await Access.with(common) { try await $0.json(AdminRequest(.get, ["vnfs", capsule.name])) }
      return try show(String(decoding: json, as: UTF8.self) + "\n")
    }
    try show("\(target.words), is at \(work.path)\n")
  }
}
