import ArgumentParser
import Provisioner

/// `perseid vnfs gc`
struct VNFSCollect: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "gc", abstract: "Remove old generations and blobs that nothing needs any more.",
    discussion: "The appliance does this by itself: behind an import or a deletion, and every ten minutes.")

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  func run() async throws {
    let json = try await Access.with(common) { try await $0.json(AdminRequest(.post, ["collection"])) }
    if output.json { return try show(String(decoding: json, as: UTF8.self) + "\n") }
    let done: CollectionView = try Access.decode(json)
    for generation in done.generations { try show("Forgot \(generation).\n") }
    try show(
      done.postponed
        ? "Blobs were left alone: an import, an export or a build reads or writes them. They go when it has ended.\n"
        : "Removed \(done.blobs) blob\(done.blobs == 1 ? "" : "s"), \(Quantity.bytes(done.bytes)).\n")
  }
}
