import ArgumentParser
import Capsule
import CapsuleFormat
import Glibc
import Provisioner

/// `perseid vnfs export NAME [FILE]`: the generation that boots, as a file.
struct VNFSExport: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export", abstract: "Write a capsule to a .capsule file, which any OCI registry carries.")

  @Argument(help: "The capsule.", completion: Names.capsules)
  var capsule: String

  @Argument(help: "The file, or a directory for it (default: NAME.capsule here).", completion: .file())
  var file: String?

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  /// What was written, for `--json`.
  private struct Exported: Encodable {
    var name: String
    var generation: Int
    var digest: String
    var file: String
    var bytes: Int64
  }

  func run() async throws {
    let configuration = try common.configuration()
    let request = AdminRequest(.get, ["vnfs", capsule])
    let view: CapsuleView = try await Access.with(common) { try await $0.get(request) }
    guard let digest = Digest(view.digest) else {
      throw ApplianceError(.failed, "The appliance names the capsule \(view.digest), which is no digest.")
    }
    let path = path(for: view)
    let progress = ImportProgress()
    let bytes: Int64
    do {
      defer { progress.finish() }
      bytes = try await interruptible {
        let store = try ContentStore(directory: configuration.paths.state)
        let stored = try StoredCapsule.load(digest, from: store)
        return try CapsuleArchive.export(stored, from: store, to: path) { progress.report($0) }
      }
    }
    if output.json {
      let exported = Exported(
        name: view.name, generation: view.generation, digest: view.digest, file: path, bytes: bytes)
      return try show(try JSONText.of(exported))
    }
    try show("Wrote \(view.name), generation \(view.generation), to \(path): \(Quantity.bytes(bytes)).\n")
  }

  private func path(for view: CapsuleView) -> String {
    let name = "\(view.name).capsule"
    guard let file else { return name }
    var status = stat()
    guard stat(file, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else { return file }
    return file.hasSuffix("/") ? file + name : "\(file)/\(name)"
  }
}
