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
    let start = ContinuousClock.now
    let progress = ImportProgress()
    let capsule: StoredCapsule
    do {
      defer { progress.finish() }
      capsule = try await interruptible { [request] in
        let store = try ContentStore(directory: configuration.paths.state)
        // What is no path of a file is for the builder to understand: docker://...
        let isFile = access(request.source, F_OK) == 0
        if try request.source.hasSuffix(".capsule") || isFile && CapsuleArchive.isCapsule(request.source) {
          return try await CapsuleArchive.import(request.source, into: store) { progress.report($0) }.capsule
        }
        return try await CapsuleBuilder(store: store).build(request) { progress.report($0) }
      }
    }
    try await Self.register(capsule, name ?? capsule.config.name, common, output, since: start)
  }

  /// Gives a new capsule's name to the appliance, and shows what became of it.
  static func register(
    _ capsule: StoredCapsule, _ name: String, _ common: CommonOptions, _ output: OutputOptions,
    since start: ContinuousClock.Instant
  ) async throws {
    let registration = try AdminRequest(
      .post, ["vnfs"], json: RegisterCapsule(name: name, digest: capsule.digest))
    let json = try await Access.with(common) { try await $0.json(registration) }
    if output.json { return try show(String(decoding: json, as: UTF8.self) + "\n") }
    let view: CapsuleView = try Access.decode(json)
    try show(text(capsule, view, seconds: (ContinuousClock.now - start) / .seconds(1)))
  }

  private static func text(_ capsule: StoredCapsule, _ view: CapsuleView, seconds: Double) -> String {
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
    sheet.add("digest", capsule.digest.description)
    sheet.add("took", Quantity.seconds(seconds))
    return sheet.text
  }
}
