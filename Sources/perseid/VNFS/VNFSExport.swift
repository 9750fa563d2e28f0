import ArgumentParser
import Capsule
import CapsuleFormat
import Glibc
import Provisioner

/// `perseid vnfs export NAME [FILE]`: the generation that boots, as a file.
struct VNFSExport: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export", abstract: "Write a capsule to a .capsule file, which any OCI registry carries.")

  @Argument(help: "The capsule, or one of its generations: debian-12, debian-12:3.")
  var capsule: CapsuleReference

  @Argument(help: "The file, or a directory for it (default: NAME.capsule here).", completion: .file())
  var file: String?

  @Option(name: .long, help: "Sign it with a key of yours; whoever has signed it before still has.")
  var sign: String?

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  /// What was written, for `--json`.
  private struct Exported: Encodable {
    var name: String
    var generation: Int
    var digest: String
    var file: String
    var bytes: Int64
    /// Identifiers of keys.
    var signatures: [String]
  }

  func run() async throws {
    let configuration = try common.configuration()
    let store = try ContentStore(directory: configuration.paths.state)
    let hold = try store.hold()
    defer { withExtendedLifetime(hold) {} }
    let target = try await Access.with(common) { try await capsule.resolve($0) }
    let path = path(for: target)
    var signatures = target.signatures
    if let sign {
      let keyring = Keyring(directory: configuration.paths.keys)
      signatures = try SignedManifest.sign(target.digest, signatures, in: store, with: sign, of: keyring)
    }
    let progress = ImportProgress()
    let bytes: Int64
    do {
      defer { progress.finish() }
      bytes = try await interruptible { [signatures] in
        let digest =
          signatures.isEmpty
          ? target.digest : try SignedManifest.make(of: target.digest, signatures: signatures, in: store).digest
        let stored = try StoredCapsule.load(digest, from: store)
        return try CapsuleArchive.export(stored, from: store, to: path) { progress.report($0) }
      }
    }
    if output.json {
      let exported = Exported(
        name: target.name, generation: target.generation, digest: target.digest.description, file: path, bytes: bytes,
        signatures: signatures.map(\.key.description))
      return try show(try JSONText.of(exported))
    }
    try show("Wrote \(target.words), to \(path): \(Quantity.bytes(bytes)).\n")
  }

  private func path(for capsule: ResolvedCapsule) -> String {
    let name = "\(capsule.name).capsule"
    guard let file else { return name }
    var status = stat()
    guard stat(file, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else { return file }
    return file.hasSuffix("/") ? file + name : "\(file)/\(name)"
  }
}
