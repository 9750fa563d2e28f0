import CapsuleFormat

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A tree's firmware: plain files, or compressed with xz or zstd as the kernel takes them.
struct FirmwareFiles {
  let tree: FileTree
  let kernel: Kernel
  let scratch: ScratchDirectory

  private static let parents = ["lib/firmware", "usr/lib/firmware"]

  /// What modules ask for, changed as the capsule's settings say; sorted.
  func selected(_ wanted: [String], _ settings: CapsuleSettings) throws(CapsuleError) -> [String] {
    func isOmitted(_ name: String) -> Bool {
      settings.firmware.omit.contains { name == $0 || name.hasPrefix($0 + "/") }
    }
    var names = Set(wanted.filter { !isOmitted($0) })
    for name in settings.firmware.add {
      if find(name) != nil {
        names.insert(name)
        continue
      }
      let inside = Self.parents.compactMap { tree.directory("\($0)/\(name)") }.first
      guard let inside else {
        throw settings.error("firmware", "found '\(name)', which is not below /lib/firmware in the tree")
      }
      for item in tree.descendants(of: inside) where item.entry.kind != .directory {
        let rest = String(decoding: item.entry.path.bytes.dropFirst(inside.bytes.count), as: UTF8.self)
        names.insert(Self.uncompressed(name + rest))
      }
    }
    return names.sorted()
  }

  /// A firmware file as the kernel looks for it, decompressed; `nil` where the tree has none.
  func content(_ name: String) throws -> [UInt8]? {
    guard let (item, path) = find(name) else { return nil }
    return try decompressed(item, path)
  }

  /// Updates of the processors' microcode, of both makers, as an image that stands in front of the initramfs; empty
  /// where the tree has none.
  func microcode() throws -> [UInt8] {
    var image = CPIOWriter()
    var isEmpty = true
    for (directory, prefix, target) in [
      ("amd-ucode", "microcode_amd", "AuthenticAMD.bin"), ("intel-ucode", "", "GenuineIntel.bin"),
    ] {
      var updates: [UInt8] = []
      // With a merged /usr both parents are one directory.
      guard let inside = Self.parents.compactMap({ tree.directory("\($0)/\(directory)") }).first else { continue }
      for name in tree.names(in: inside).sorted() where name.hasPrefix(prefix) {
        guard !name.hasSuffix(".asc"), !name.hasSuffix("README"), let item = tree.file("\(inside)/\(name)") else {
          continue
        }
        updates += try decompressed(item, name)
      }
      guard !updates.isEmpty else { continue }
      isEmpty = false
      // Intel's processors take an update from an address that is a multiple of 16.
      image.addFile("kernel/x86/microcode/\(target)", content: updates, alignment: 16)
    }
    return isEmpty ? [] : image.finish()
  }

  private static func uncompressed(_ name: String) -> String {
    for suffix in [".xz", ".zst"] where name.hasSuffix(suffix) { return String(name.dropLast(suffix.count)) }
    return name
  }

  /// Where the kernel looks (Linux, Documentation/driver-api/firmware/fw_search_path.rst).
  private func find(_ name: String) -> (item: FileTree.Item, path: String)? {
    guard TreePath(name) != nil else { return nil }
    for directory in ["updates/\(kernel.release)", "updates", kernel.release, "."] {
      for parent in Self.parents {
        for suffix in ["", ".zst", ".xz"] {
          let path = "\(parent)/\(directory)/\(name)\(suffix)"
          if let item = tree.file(path) { return (item, path) }
        }
      }
    }
    return nil
  }

  private func decompressed(_ item: FileTree.Item, _ path: String) throws -> [UInt8] {
    let bytes = try tree.read(item)
    if path.hasSuffix(".zst") { return try Decompression.zstd(bytes, path: path) }
    guard path.hasSuffix(".xz") else { return bytes }
    let file = scratch.path + "/firmware"
    try scratch.write(bytes, to: file + ".xz")
    try Filter.run(["xz", "-d", file + ".xz"])
    defer { unlink(file) }
    return try readFile(file, limit: 256 << 20)
  }
}

/// Single files of a tree that are compressed.
enum Decompression {
  /// Largest file of which a compressed form is taken, in bytes.
  static let limit = 256 << 20

  static func zstd(_ bytes: [UInt8], path: String) throws -> [UInt8] {
    var output: [UInt8] = []
    do {
      var decompressor = try ZstdStreamDecompressor()
      try bytes.withUnsafeBytes { bytes in
        try decompressor.decompress(bytes) { piece in
          guard output.count + piece.count <= limit else { throw ZstdError.failed("it is larger than \(limit) bytes") }
          output += piece
        }
      }
      guard decompressor.isAtFrameEnd else { throw ZstdError.failed("it is truncated") }
    } catch {
      throw CapsuleError(
        .unreadable, "'\(path)' in the tree cannot be decompressed: \(error)",
        remedy: "Install the package of that file in the tree again, and import it")
    }
    return output
  }
}
