import ArgumentParser
import Capsule
import CapsuleFormat
import Glibc
import Provisioner

/// `perseid vnfs import SOURCE [--name N]`: the building runs here, beside a running appliance; only
/// the name is given by it.
struct VNFSImport: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "import", abstract: "Take a .capsule file, or make a capsule of a root file system.",
    discussion: """
      SOURCE is a .capsule file; a directory; a tar archive (plain, gzip, xz, bzip2 or zstd); the image of a container: \
      an OCI layout, an archive of one or of docker save, or docker://REGISTRY/NAME:TAG, which skopeo fetches; a .vnfs \
      of Perceus. Where several images are in one place: oci:PATH:NAME, docker-archive:PATH:NAME.
      """)

  @Argument(help: "A .capsule file, a directory, an archive, an image, or a .vnfs of Perceus.", completion: .file())
  var source: String

  @Option(
    name: .long,
    help: "GiB that an archive or image may unpack to (default: 256, and 200 times its own size).")
  var sizeLimit: Int?

  @Option(name: .long, help: "The capsule's name (default: after the tree's os-release, such as debian-12).")
  var name: String?

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  func run() async throws {
    let configuration = try common.configuration()
    var request = BuildRequest(
      source: source, nodeExecutable: try Companions.nodeExecutable(), busybox: try Companions.busybox())
    request.name = name
    if let sizeLimit {
      guard (1...1_000_000).contains(sizeLimit) else { throw ValidationError("--size-limit is from 1 to 1000000.") }
      request.limits.bytes = Int64(sizeLimit) << 30
      request.limits.expansion = nil
    }
    let store = try ContentStore(directory: configuration.paths.state)
    var hold: StoreHold? = try store.hold()
    defer { withExtendedLifetime(hold) {} }
    let start = ContinuousClock.now
    let progress = ImportProgress()
    let capsule: StoredCapsule
    // What is no path of a file is for the builder to understand: docker://...
    let isFile = access(source, F_OK) == 0
    let isArchive = try source.hasSuffix(".capsule") || isFile && CapsuleArchive.isCapsule(source)
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
      await Self.collect(common)
      throw error
    }
    try await Self.register(
      capsule, name ?? capsule.config.name, common, output, origin: "import of \(source)", signers: signers,
      since: start)
  }

  /// Removes what a refused import has copied; says where that has to wait, or cannot be done.
  private static func collect(_ common: CommonOptions) async {
    do {
      let done: CollectionView = try await Access.with(common) {
        try await $0.get(AdminRequest(.post, ["collection"]))
      }
      guard done.postponed else { return }
      printError(
        "What was copied is still in the content store, which an import, an export or a build reads or writes. It "
          + "goes when that has ended, with the appliance's next collection, or by: perseid vnfs gc")
    } catch {
      printError("What was copied is still in the content store: \(error) Remove it: perseid vnfs gc")
    }
  }

  /// Gives a new capsule's name to the appliance, and shows what became of it.
  static func register(
    _ capsule: StoredCapsule, _ name: String, _ common: CommonOptions, _ output: OutputOptions,
    origin: String, signers: [String] = [], since start: ContinuousClock.Instant
  ) async throws {
    let registration = try AdminRequest(
      .post, ["vnfs"], json: RegisterCapsule(name: name, digest: capsule.digest, origin: origin))
    let json = try await Access.with(common) { try await $0.json(registration) }
    if output.json { return try show(String(decoding: json, as: UTF8.self) + "\n") }
    let view: CapsuleView = try Access.decode(json)
    try show(text(capsule, view, signers, seconds: (ContinuousClock.now - start) / .seconds(1)))
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
