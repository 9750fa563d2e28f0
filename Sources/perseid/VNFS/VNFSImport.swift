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
    let start = ContinuousClock.now
    let progress = ImportProgress()
    let capsule: StoredCapsule
    do {
      defer { progress.finish() }
      capsule = try await interruptible { [request] in
        let store = try ContentStore(directory: configuration.paths.state)
        if try request.source.hasSuffix(".capsule") || CapsuleArchive.isCapsule(request.source) {
          return try await CapsuleArchive.import(request.source, into: store) { progress.report($0) }.capsule
        }
        return try await CapsuleBuilder(store: store).build(request) { progress.report($0) }
      }
    }
    let registration = try AdminRequest(
      .post, ["vnfs"], json: RegisterCapsule(name: name ?? capsule.config.name, digest: capsule.digest))
    let json = try await Access.with(common) { try await $0.json(registration) }
    if output.json { return try show(String(decoding: json, as: UTF8.self) + "\n") }
    let view: CapsuleView = try Access.decode(json)
    try show(Self.text(capsule, view, seconds: (ContinuousClock.now - start) / .seconds(1)))
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
