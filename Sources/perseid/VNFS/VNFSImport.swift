import ArgumentParser
import Capsule
import CapsuleFormat
import Provisioner

/// `perseid vnfs import SOURCE [--name N]`: the building runs here, beside a running appliance; only
/// the name is given by it.
struct VNFSImport: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "import",
    abstract: "Take a .capsule file, or make a capsule of a root file system: a directory, or a tar archive.")

  @Argument(
    help: "A .capsule file, a directory, or a tar archive (plain, gzip, xz, bzip2 or zstd).", completion: .file())
  var source: String

  @Option(name: .long, help: "The capsule's name (default: after the tree's os-release, such as debian-12).")
  var name: String?

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  func run() async throws {
    let configuration = try common.configuration()
    var request = BuildRequest(
      source: source, nodeExecutable: try Companions.nodeExecutable(), busybox: try Companions.busybox())
    request.name = name
    let store = try ContentStore(directory: configuration.paths.state)
    var hold: StoreHold? = try store.hold()
    defer { withExtendedLifetime(hold) {} }
    let start = ContinuousClock.now
    let progress = ImportProgress()
    let capsule: StoredCapsule
    let isArchive = try request.source.hasSuffix(".capsule") || CapsuleArchive.isCapsule(request.source)
    do {
      defer { progress.finish() }
      capsule = try await interruptible { [request] in
        if isArchive {
          return try await CapsuleArchive.import(request.source, into: store) { progress.report($0) }.capsule
        }
        return try await CapsuleBuilder(store: store).build(request) { progress.report($0) }
      }
    }
    let signers: [String]
    do {
      signers = try Self.signers(of: capsule, configuration, store, isArchive: isArchive)
    } catch {
      // What was copied is of no use to anybody.
      hold = nil
      _ = try? await Access.with(common) { try await $0.json(AdminRequest(.post, ["collection"])) }
      throw error
    }
    let registration = try AdminRequest(
      .post, ["vnfs"],
      json: RegisterCapsule(
        name: name ?? capsule.config.name, digest: capsule.digest, origin: "import of \(source)"))
    let json = try await Access.with(common) { try await $0.json(registration) }
    if output.json { return try show(String(decoding: json, as: UTF8.self) + "\n") }
    let view: CapsuleView = try Access.decode(json)
    try show(Self.text(capsule, view, signers, seconds: (ContinuousClock.now - start) / .seconds(1)))
  }

  /// Who has signed a capsule, as far as they are trusted.
  /// - Throws: `CapsuleError` where a signature is false, or one that is required is missing.
  private static func signers(
    of capsule: StoredCapsule, _ configuration: Configuration, _ store: ContentStore, isArchive: Bool
  ) throws -> [String] {
    guard isArchive else { return [] }
    let keyring = Keyring(directory: configuration.paths.keys)
    let (inner, signatures) = try SignedManifest.open(capsule.digest, in: store)
    let signers = try SignedManifest.signers(of: inner, signatures, in: store, trusting: keyring).map(\.name)
    guard signers.isEmpty else { return signers }
    let unknown = signatures.map(\.key.description).joined(separator: ", ")
    if configuration.capsules.requireSignature {
      throw CapsuleError(
        .badSignature,
        signatures.isEmpty
          ? "The capsule is not signed, and capsules.requireSignature in \(configuration.file) allows signed ones only"
          : "The capsule is signed with keys that are not trusted here (\(unknown)), and capsules.requireSignature in "
            + "\(configuration.file) allows no others",
        remedy: "Get the public key of whoever made it by a way that you trust: perseid key trust FILE")
    }
    if !signatures.isEmpty { printError("It is signed with keys that are not trusted here: \(unknown)") }
    return []
  }

  private static func text(
    _ capsule: StoredCapsule, _ view: CapsuleView, _ signers: [String], seconds: Double
  ) -> String {
    var sheet = Sheet()
    sheet.add("capsule", "\(view.name), generation \(view.generation)")
    sheet.add("system", capsule.config.operatingSystem)
    let config = capsule.config
    sheet.add("kernel", "\(config.kernelRelease), \(config.architecture), \(Quantity.bytes(capsule.kernel.size))")
    sheet.add(
      "root",
      "\(config.rootEntries) entries, \(Quantity.bytes(config.rootBytes)), "
        + "\(Quantity.bytes(capsule.rootFileSystem.size)) compressed")
    sheet.add(
      "initramfs", "\(Quantity.bytes(capsule.initramfs.size)), and \(Quantity.bytes(capsule.stage1.size)) of stage 1")
    sheet.add("digest", view.digest)
    sheet.add("signed by", signers.joined(separator: ", "))
    sheet.add("took", Quantity.seconds(seconds))
    return sheet.text
  }
}
