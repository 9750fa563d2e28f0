import CapsuleFormat

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Makes capsules out of root file system trees.
///
/// A build keeps everything it writes without a name until all of it is there; then the blobs get their names,
/// the manifest last. A build that fails or is cancelled leaves nothing.
package struct CapsuleBuilder: Sendable {
  private let store: ContentStore
  private let temporaryDirectory: String
  /// A file whose status changed within so many seconds before the build is read again by the next one, since what is
  /// written within one tick of the clock cannot be told apart.
  package var settlingSeconds: Int64 = 2

  /// - Parameter temporaryDirectory: For scratch files; the contents of an archive are kept there during a build.
  ///   `nil` takes the store's own.
  package init(store: ContentStore, temporaryDirectory: String? = nil) {
    self.store = store
    self.temporaryDirectory = temporaryDirectory ?? store.temporaryDirectory
  }

  /// Builds a capsule and stores it.
  ///
  /// - Throws: `CapsuleError`, or `CancellationError`.
  package func build(
    _ request: BuildRequest, progress: @escaping ProgressHandler = { _ in }
  ) async throws -> StoredCapsule {
    try await withTaskExecutorPreference(BuildExecutor()) {
      try await assemble(request, progress: progress)
    }
  }

  private func assemble(_ request: BuildRequest, progress: @escaping ProgressHandler) async throws -> StoredCapsule {
    if let name = request.name { try CapsuleName.check(name) }
    let started = Int64(time(nil))
    let node = try readFile(request.nodeExecutable, limit: 128 << 20)
    let busybox = try readFile(request.busybox, limit: 16 << 20)
    let tree = try SourceReader(
      temporaryDirectory: temporaryDirectory, limits: request.limits,
      architecture: ModuleInfo.machine(ofELF: node) == 183 ? "arm64" : "amd64", progress: progress,
      title: request.title
    ).read(request.source)
    let settings = try CapsuleSettings(tree)
    let release = try OSRelease(tree)
    let name = try CapsuleName.choose(request.name, settings, release)
    let kernel = try Kernel.find(in: tree, settings)
    let nodescripts = try settings.nodescripts(in: tree) { note in
      progress(BuildProgress(phase: .reading, completedBytes: 0, totalBytes: nil, note: note))
    }
    let tools = try settings.tools(in: tree)
    progress(BuildProgress(phase: .initramfs, completedBytes: 0, totalBytes: nil, note: kernel.note))

    let compressors = CompressorPool(level: request.compressionLevel)
    let records = BuildRecords(store: store, source: request.source)
    let own = records.ownRecord(compressor: compressors.description)
    var parts = CapsuleParts(store: store, earlier: own?.images ?? [:])

    let plan = try StreamPlan(tree, settled: started - settlingSeconds)
    let makesErofs = request.makesErofs && settings.rootModes?.contains(.overlay) != false
    // All at once: each has parts that one core alone can do.
    async let packing = pack(tree, plan, compressors, own, records, progress: progress)
    async let overlay = makesErofs ? makeErofs(tree, plan, own) : nil

    let scratch = try ScratchDirectory(in: temporaryDirectory)
    let initramfs = try InitramfsBuilder(
      tree: tree, kernel: kernel, settings: settings, busybox: busybox, scratch: scratch
    ).build()
    try Self.check(node, request.nodeExecutable, matches: initramfs)
    try Self.check(busybox, request.busybox, matches: initramfs)
    let initramfsBlob = try parts.image(initramfs.image, MediaType.initramfs, behind: initramfs.early)
    try Task.checkCancellation()
    let stage1Blob = try parts.image(Stage1Image.make(node), MediaType.stage1)
    try Task.checkCancellation()
    let kernelBlob = try parts.keep(try tree.read(kernel.image), MediaType.kernel)

    let root = try await packing
    parts.writers.append(root.writer)
    let indexBlob = try parts.keep(root.index.encoded(), MediaType.frameIndex)
    let erofs = try await overlay

    var config = CapsuleConfig(
      name: name, kernelRelease: kernel.release, architecture: initramfs.architecture,
      operatingSystem: release.prettyName, kernelArguments: settings.kernelArguments,
      rootBytes: Int64(clamping: root.index.uncompressedLength), rootEntries: Int64(tree.items.count))
    config.version = settings.version
    config.rootModes = settings.rootModes?.map(\.rawValue)
    var layers = [root.blob, indexBlob, kernelBlob, initramfsBlob, stage1Blob]
    if let erofs {
      parts.writers.append(erofs.writer)
      layers.append(erofs.record.image)
    }
    if !nodescripts.files.isEmpty { layers.append(try parts.keep(try nodescripts.encoded(), MediaType.nodescripts)) }
    if !tools.files.isEmpty { layers.append(try parts.keep(try tools.encoded(), MediaType.tools)) }
    let manifest = CapsuleManifest(
      config: try parts.keep(try canonicalJSON(config), MediaType.config), layers: layers,
      annotations: settings.version.map { ["org.opencontainers.image.version": $0] })
    let manifestBlob = try parts.keep(try canonicalJSON(manifest), MediaType.manifest)
    try Task.checkCancellation()
    try parts.publish()
    let capsule = try StoredCapsule.load(manifestBlob.digest, from: store)
    records.save(
      BuildRecord(
        compressor: compressors.description, root: root.blob, frameIndex: indexBlob, spans: root.spans,
        images: parts.images, erofs: plan.stamps.isEmpty ? nil : erofs?.record))
    progress(BuildProgress(phase: .done, completedBytes: capsule.bytes, totalBytes: capsule.bytes))
    return capsule
  }

  /// The root file system's blob; frames that earlier builds made already are copied.
  private func pack(
    _ tree: FileTree, _ plan: StreamPlan, _ compressors: CompressorPool, _ own: BuildRecord?, _ records: BuildRecords,
    progress: @escaping ProgressHandler
  ) async throws -> sending RootPacker.Result {
    let others = records.otherRecords(compressor: compressors.description)
    let known = KnownFrames(own: own, others: others, store: store)
    let width = Self.width
    do {
      return try await RootPacker(store: store, compressors: compressors, width: width, known: known)
        .pack(tree, plan, progress: progress)
    } catch is RootPacker.DamagedFrame {
      return try await RootPacker(store: store, compressors: compressors, width: width, known: .none)
        .pack(tree, plan, progress: progress)
    }
  }

  /// The tree as an erofs image; what the last one has already is copied.
  private func makeErofs(
    _ tree: FileTree, _ plan: StreamPlan, _ own: BuildRecord?
  ) async throws -> sending ErofsImage.Result? {
    let known = KnownErofs(own?.erofs, store: store)
    do {
      return try await ErofsImage(tree: tree, plan: plan, known: known, width: Self.width).make(in: store)
    } catch is ErofsImage.Damaged {
      return try await ErofsImage(tree: tree, plan: plan, known: .none, width: Self.width).make(in: store)
    }
  }

  /// Pieces that are compressed at once.
  private static var width: Int { max(2, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))) + 1) }

  /// The executables in the initramfs have to run on the machines that the kernel is for.
  private static func check(
    _ executable: [UInt8], _ path: String, matches initramfs: InitramfsBuilder.Result
  ) throws(CapsuleError) {
    guard let machine = ModuleInfo.machine(ofELF: executable) else {
      throw CapsuleError(
        .badSource, "\(path) is not a 64-bit executable", remedy: "Build or install the right one, and import again")
    }
    guard machine == initramfs.machine else {
      throw CapsuleError(
        .badSource, "The tree is for \(initramfs.architecture), and \(path) is for another architecture",
        remedy: "Import the tree with executables for \(initramfs.architecture)")
    }
  }
}
