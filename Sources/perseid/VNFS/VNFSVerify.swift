import ArgumentParser
import Capsule
import CapsuleFormat
import Glibc
import Provisioner

/// `perseid vnfs verify NAME`: reads the content store itself.
struct VNFSVerify: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify", abstract: "Compare every byte of a capsule with its digests.",
    discussion: """
      As root, the root file system is unpacked too, into the state directory, and what is then on the disk (owners, \
      modes, times, extended attributes, device nodes, contents) is compared with the tree that was recorded.
      """)

  @Argument(help: "The capsule, or one of its generations: debian-12, debian-12:3.")
  var capsule: CapsuleReference

  @Flag(name: .long, help: "Do not unpack: check the digests alone.")
  var quick = false

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  private struct Report: Encodable {
    var name: String
    var generation: Int
    var digest: String
    var ok: Bool
    var blobs: Int
    var frames: Int
    var entries: Int
    var bytes: Int64
    var unpacked: Bool
    var problems: [String]
  }

  func run() async throws {
    let store = try ContentStore(directory: try common.configuration().paths.state)
    let hold = try store.hold()
    defer { withExtendedLifetime(hold) {} }
    let target = try await Access.with(common) { try await capsule.resolve($0) }
    let progress = ImportProgress()
    let unpacks = !quick && geteuid() == 0
    let found: Verification
    do {
      defer { progress.finish() }
      found = try await interruptible {
        try await Verification.of(target.digest, in: store, unpacks: unpacks) { progress.report($0) }
      }
    }
    if output.json {
      try show(
        try JSONText.of(
          Report(
            name: target.name, generation: target.generation, digest: target.digest.description,
            ok: found.problems.isEmpty, blobs: found.blobs, frames: found.frames, entries: found.entries,
            bytes: found.bytes, unpacked: found.isUnpacked, problems: found.problems)))
    } else if found.problems.isEmpty {
      let unpacked =
        found.isUnpacked
        ? "unpacked, they are the tree that was recorded" : quick ? "not unpacked" : "not unpacked, which takes root"
      try show(
        "\(target.words): whole. \(found.blobs) blobs, \(Quantity.bytes(found.bytes)); \(found.frames) frames with "
          + "\(found.entries) entries; \(unpacked).\n")
    }
    guard found.problems.isEmpty else {
      let list = output.json ? "" : ":\n  " + found.problems.joined(separator: "\n  ")
      throw ApplianceError(
        .failed,
        "\(target.words), is damaged\(list)\nCheck the disk, and import the capsule again; "
          + "perseid vnfs rollback \(target.name) lets an older generation boot meanwhile.")
    }
  }
}
