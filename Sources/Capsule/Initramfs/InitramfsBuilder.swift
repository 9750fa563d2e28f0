import CapsuleFormat

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Puts a capsule's initramfs together: busybox, the modules stage 1 may need, and their firmware.
struct InitramfsBuilder {
  let tree: FileTree
  let kernel: Kernel
  /// A static executable's bytes.
  let busybox: [UInt8]
  let scratch: ScratchDirectory

  struct Result {
    /// The cpio image, not compressed.
    var image: [UInt8]
    /// `amd64` or `arm64`.
    var architecture: String
    var machine: UInt16
    var moduleCount: Int
    var firmwareCount: Int
  }

  func build() throws -> Result {
    let index = try readIndex()
    let wanted = index.paths.filter { ModuleSelection.isWanted($0.value) }.keys
    let names = try index.closure(of: Array(wanted))
    guard !names.isEmpty else {
      throw CapsuleError(
        .noModules, "None of the modules in '\(kernel.modules)' drives a network card or a file system for a root",
        remedy: "Install the complete modules of \(kernel.release) in the tree, and import it again")
    }
    let contents = try moduleContents(names.compactMap { index.paths[$0] })

    var image = CPIOWriter()
    image.addFile("bin/busybox", mode: 0o755, content: busybox)
    image.addSymbolicLink("bin/sh", target: "busybox")
    let directory = "lib/modules/\(kernel.release)"
    var firmware: Set<String> = []
    var machine: UInt16 = 0
    for name in names {
      guard let path = index.paths[name], let content = contents[path] else { continue }
      guard let info = ModuleInfo(elf: content) else {
        throw CapsuleError(
          .noModules, "'\(kernel.modules)/\(path)' is not a kernel module for a 64-bit machine",
          remedy: "Install the kernel's modules in the tree again, and import it")
      }
      machine = info.machine
      firmware.formUnion(info.firmware)
      image.addFile("\(directory)/\(Module.uncompressedPath(path))", content: content)
    }
    image.addFile("\(directory)/modules.dep", content: Array(index.dependencyText(for: names).utf8))
    image.addFile("\(directory)/modules.alias", content: Array(index.aliasText(for: names).utf8))
    image.addFile("\(directory)/modules.softdep", content: Array(index.softDependencyText(for: names).utf8))
    image.addFile("\(directory)/modules.builtin", content: Array(index.builtInText.utf8))
    var firmwareCount = 0
    for name in firmware.sorted() {
      guard let content = try firmwareContent(name) else { continue }
      image.addFile("lib/firmware/\(name)", content: content)
      firmwareCount += 1
    }
    return Result(
      image: image.finish(), architecture: try Self.architecture(machine), machine: machine,
      moduleCount: names.count, firmwareCount: firmwareCount)
  }

  private static func architecture(_ machine: UInt16) throws(CapsuleError) -> String {
    switch machine {
    case 62: return "amd64"
    case 183: return "arm64"
    default:
      throw CapsuleError(
        .badSource, "The kernel's modules are for an architecture that is not supported (ELF machine \(machine))",
        remedy: "Import a tree for amd64 or arm64")
    }
  }

  /// What depmod wrote in the tree, or writes now where nobody ran it there.
  private func readIndex() throws -> ModuleIndex {
    func text(_ name: String) throws -> String? { try tree.text("\(kernel.modules)/\(name)") }
    var dependencies = try text("modules.dep")
    var soft = try text("modules.softdep")
    var aliases = try text("modules.alias")
    if dependencies?.isEmpty ?? true {
      let base = scratch.path + "/depmod"
      let directory = "\(base)/lib/modules/\(kernel.release)"
      for item in tree.descendants(of: kernel.modules) {
        guard case .file = item.entry.kind else { continue }
        let isModule = Module.suffix(of: item.entry.path.bytes) != nil
        let isInput = ["modules.builtin", "modules.order", "modules.builtin.modinfo"].contains {
          item.entry.path.name.elementsEqual($0.utf8)
        }
        guard isModule || isInput else { continue }
        try write(try tree.read(item), to: "\(directory)/\(pathBelowModules(item))")
      }
      try Filter.run(["depmod", "-b", base, kernel.release])
      dependencies = try readScratch("\(directory)/modules.dep")
      soft = try readScratch("\(directory)/modules.softdep")
      aliases = try readScratch("\(directory)/modules.alias")
    }
    return ModuleIndex(
      dependencies: dependencies ?? "", softDependencies: soft ?? "", aliases: aliases ?? "",
      builtIn: try text("modules.builtin") ?? "")
  }

  private func pathBelowModules(_ item: FileTree.Item) -> String {
    String(decoding: item.entry.path.bytes.dropFirst(kernel.modules.bytes.count + 1), as: UTF8.self)
  }

  /// The modules' bytes by their path below the modules directory, decompressed.
  private func moduleContents(_ paths: [String]) throws -> [String: [UInt8]] {
    var contents: [String: [UInt8]] = [:]
    var compressed: [String: [(path: String, file: String)]] = [:]
    for (number, path) in paths.enumerated() {
      guard let item = tree.file("\(kernel.modules)/\(path)") else {
        throw CapsuleError(
          .noModules, "modules.dep names \(path), which is not in '\(kernel.modules)'",
          remedy: "Run depmod in the tree (chroot TREE depmod \(kernel.release)), and import it again")
      }
      let bytes = try tree.read(item)
      switch Module.suffix(of: Array(path.utf8)) {
      case ".ko.zst": contents[path] = try decompressZstd(bytes, path: path)
      case ".ko.xz", ".ko.gz":
        let suffix = path.hasSuffix(".xz") ? "xz" : "gz"
        let file = "\(scratch.path)/\(number).ko"
        try write(bytes, to: "\(file).\(suffix)")
        compressed[suffix == "xz" ? "xz" : "gzip", default: []].append((path, file))
      default: contents[path] = bytes
      }
    }
    for (program, files) in compressed {
      // One process for many files; a command line has room for far more than these.
      for start in stride(from: 0, to: files.count, by: 256) {
        try Task.checkCancellation()
        let batch = files[start..<min(start + 256, files.count)]
        try Filter.run([program, "-d"] + batch.map { $0.file + (program == "xz" ? ".xz" : ".gz") })
        for (path, file) in batch {
          contents[path] = try readBytes(file)
          unlink(file)
        }
      }
    }
    return contents
  }

  /// A firmware file as the kernel looks for it; `nil` where the tree has none.
  private func firmwareContent(_ name: String) throws -> [UInt8]? {
    guard TreePath(name) != nil else { return nil }
    for directory in ["updates/\(kernel.release)", "updates", kernel.release, "."] {
      for parent in ["lib/firmware", "usr/lib/firmware"] {
        let path = "\(parent)/\(directory)/\(name)"
        if let item = tree.file(path) { return try tree.read(item) }
        if let item = tree.file(path + ".zst") { return try decompressZstd(try tree.read(item), path: path) }
        if let item = tree.file(path + ".xz") {
          let file = scratch.path + "/firmware"
          try write(try tree.read(item), to: file + ".xz")
          try Filter.run(["xz", "-d", file + ".xz"])
          defer { unlink(file) }
          return try readBytes(file)
        }
      }
    }
    return nil
  }

  private func decompressZstd(_ bytes: [UInt8], path: String) throws -> [UInt8] {
    var output: [UInt8] = []
    do {
      var decompressor = try ZstdStreamDecompressor()
      try bytes.withUnsafeBytes { try decompressor.decompress($0) { output += $0 } }
      guard decompressor.isAtFrameEnd else { throw ZstdError.failed("it is truncated") }
    } catch {
      throw CapsuleError(
        .unreadable, "'\(path)' in the tree cannot be decompressed: \(error)",
        remedy: "Install the package of that file in the tree again, and import it")
    }
    return output
  }

  private func write(_ bytes: [UInt8], to path: String) throws(CapsuleError) {
    var parent = scratch.path
    for component in path.dropFirst(scratch.path.count).split(separator: "/").dropLast() {
      parent += "/" + component
      guard mkdir(parent, 0o755) == 0 || errno == EEXIST else { throw .writing(parent, errno: errno) }
    }
    guard let file = FileDescriptor.open(path, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600),
      bytes.withUnsafeBytes({ file.writeAll($0) })
    else { throw .writing(path, errno: errno) }
  }

  private func readScratch(_ path: String) throws(CapsuleError) -> String {
    String(decoding: try readBytes(path), as: UTF8.self)
  }

  private func readBytes(_ path: String) throws(CapsuleError) -> [UInt8] { try readFile(path, limit: 256 << 20) }
}

/// The whole of a file of the host.
///
/// - Parameter limit: In bytes; a larger file is an error.
func readFile(_ path: String, limit: Int) throws(CapsuleError) -> [UInt8] {
  guard let file = FileDescriptor.open(path, O_RDONLY) else { throw .reading(path, errno: errno) }
  var status = stat()
  guard fstat(file.number, &status) == 0 else { throw .reading(path, errno: errno) }
  guard status.st_mode & S_IFMT == S_IFREG, status.st_size <= limit else {
    throw CapsuleError(
      .unreadable, "\(path) is not a file of at most \(limit) bytes", remedy: "Name the right file, and try again")
  }
  var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
  guard let count = bytes.withUnsafeMutableBytes({ file.fill($0, at: 0) }) else { throw .reading(path, errno: errno) }
  bytes.removeLast(bytes.count - count)
  return bytes
}
