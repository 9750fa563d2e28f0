import CapsuleFormat

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The tree once more, as an erofs file system that a node mounts as it is: made by mkfs.erofs.
///
/// lz4, not lz4hc: the image lies in a node's memory, where it is a twentieth larger (and little more than half of the
/// tree), and it is made eight times faster, which everybody waits for who changes a tree.
struct ErofsImage: Sendable {
  let store: ContentStore
  let scratch: ScratchDirectory

  /// What the image's bytes depend on besides the tree and the version of mkfs.erofs.
  private static let options = ["--quiet", "-zlz4", "-C16384", "-U", "50455253-4549-4400-8000-000000000001"]

  /// Names the options in a build's notes.
  static var description: String { "mkfs.erofs \(options.joined(separator: " "))" }

  static var isInstalled: Bool {
    ["/usr/bin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/local/sbin"].contains { (directory: String) in
      access("\(directory)/mkfs.erofs", X_OK) == 0
    }
  }

  /// Whether a tree can be given to mkfs.erofs where it is: all of the directory is in the tree.
  static func isReadyMade(_ tree: FileTree) -> Bool { tree.source.directory != nil && tree.isWhole }

  /// The image's blob: the one that an earlier build made of the same tree, the one that is made already, or a new one.
  ///
  /// - Parameters:
  ///   - root: The tree's root file system blob.
  ///   - isWanted: Whether the tree names root mode overlay itself: then it is an error where the image cannot be made.
  /// - Returns: `nil` where it cannot be made here; the person is told why.
  func blob(
    of tree: FileTree, _ root: RootPacker.Result, made: BlobWriter?, isWanted: Bool, in parts: inout CapsuleParts,
    progress: ProgressHandler
  ) async throws -> Descriptor? {
    let content = Digest(of: root.index.frames.flatMap(\.uncompressedDigest.bytes))
    let key = "\(MediaType.erofs) \(content.hexadecimal) \(Self.description)"
    if let made { return try parts.keep(made, MediaType.erofs, as: key) }
    if let kept = parts.kept(key) { return kept }
    var reason: String?
    if !Self.isInstalled {
      reason = "install the package erofs-utils"
    } else if !Self.isReadyMade(tree), geteuid() != 0 {
      reason = "run the import as root, who alone can unpack an archive with its owners and devices"
    }
    if let reason {
      let problem = "The capsule has no erofs image for root mode overlay"
      guard !isWanted else {
        throw CapsuleError(.tool, problem, remedy: reason.prefix(1).uppercased() + reason.dropFirst())
      }
      progress(
        BuildProgress(phase: .packing, completedBytes: 0, totalBytes: nil, note: "\(problem): to have one, \(reason)"))
      return nil
    }
    let writer =
      Self.isReadyMade(tree)
      ? try await make(of: tree) : try await make(unpacking: root.writer.temporaryPath)
    return try parts.keep(writer, MediaType.erofs, as: key)
  }

  /// Of a tree that is ready made.
  func make(of tree: FileTree) async throws -> sending BlobWriter {
    guard let directory = tree.source.directory else { preconditionFailure("only directories are ready made") }
    return try await make(directory: String(decoding: directory, as: UTF8.self))
  }

  /// Of a root file system blob, unpacked in the scratch directory for it. That takes root: owners, devices
  /// and some attributes cannot be set by others.
  ///
  /// - Parameter path: The blob's file.
  func make(unpacking path: String) async throws -> BlobWriter {
    let directory = scratch.path + "/root"
    guard mkdir(directory, 0o755) == 0 else { throw CapsuleError.writing(directory, errno: errno) }
    try await run(
      ["tar", "--zstd", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-C", directory, "-xpf", path],
      remedy: "Run the import as root, or leave overlay out of the root modes in the tree's /etc/perseid/capsule.yaml")
    let writer = try await make(directory: directory)
    Leftovers.removeTree(directory)
    return writer
  }

  private func make(directory: String) async throws -> sending BlobWriter {
    let writer = try store.writer()
    try await run(
      ["mkfs.erofs"] + Self.options + [writer.temporaryPath, directory],
      remedy: "See its message above; or leave overlay out of the root modes in the tree's /etc/perseid/capsule.yaml")
    try writer.adopt { block in
      guard Superblock.setBuildTime(in: block) else {
        throw CapsuleError(
          .tool, "mkfs.erofs made an image that is not understood", remedy: "Install erofs-utils 1.5 or later")
      }
    }
    return writer
  }

  /// Runs a program to its end, and ends it where the task is cancelled.
  private func run(_ command: [String], remedy: String) async throws {
    guard let null = FileDescriptor.open("/dev/null", O_RDWR) else {
      throw CapsuleError.reading("/dev/null", errno: errno)
    }
    let program = try Filter(command, input: null.number)
    var ignored = [UInt8](repeating: 0, count: 4096)
    while true {
      try Task.checkCancellation()
      var waited = pollfd(fd: program.output.number, events: Int16(POLLIN), revents: 0)
      guard poll(&waited, 1, 100) > 0 else { continue }
      let count = read(program.output.number, &ignored, ignored.count)
      if count == 0 || (count < 0 && errno != EINTR) { break }
    }
    guard program.waitForEnd() == 0 else {
      throw CapsuleError(
        .tool, "Making the erofs image for root mode overlay: '\(command[0])' failed", remedy: remedy)
    }
  }

  /// The image's first block (Linux, fs/erofs/erofs_fs.h): the time of its making is the one thing in the image that
  /// is not the tree's.
  enum Superblock {
    static func setBuildTime(in block: UnsafeMutableRawBufferPointer) -> Bool {
      guard block.count == 4096, load(block, 1024) == 0xE0F5_E1E2 else { return false }
      let checksum = load(block, 1028)
      store(0, block, 1028)
      guard checksum == crc(block) else { return false }
      for offset in [1048, 1052, 1056] { store(0, block, offset) }
      store(crc(block), block, 1028)
      return true
    }

    private static func load(_ block: UnsafeMutableRawBufferPointer, _ offset: Int) -> UInt32 {
      UInt32(littleEndian: block.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }

    private static func store(_ value: UInt32, _ block: UnsafeMutableRawBufferPointer, _ offset: Int) {
      block.storeBytes(of: value.littleEndian, toByteOffset: offset, as: UInt32.self)
    }

    /// CRC-32C over the superblock and the rest of its block, begun with all ones and not inverted at the end.
    private static func crc(_ block: UnsafeMutableRawBufferPointer) -> UInt32 {
      var crc = UInt32.max
      for byte in block[1024...] {
        crc ^= UInt32(byte)
        for _ in 0..<8 { crc = crc >> 1 ^ (crc & 1 == 1 ? 0x82F6_3B78 : 0) }
      }
      return crc
    }
  }
}
