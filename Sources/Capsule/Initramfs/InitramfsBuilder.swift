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
  let settings: CapsuleSettings
  /// A static executable's bytes.
  let busybox: [UInt8]
  let scratch: ScratchDirectory

  struct Result {
    /// What stands in front of the image, uncompressed: microcode, which the kernel loads before it can decompress
    /// anything (Linux, Documentation/arch/x86/microcode.rst). A cpio image too; empty where the tree has none.
    var early: [UInt8]
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
    let added = try addedModules(index)
    let wanted = index.paths.filter { ModuleSelection.isWanted($0.value) }.keys
    let names = index.without(
      Set(settings.modules.omit.map { Module.normalized($0) }), of: try index.closure(of: Array(wanted) + added))
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
    let files = FirmwareFiles(tree: tree, kernel: kernel, scratch: scratch)
    let wantedFirmware = try files.selected(Array(firmware), settings)
    var firmwareCount = 0
    for name in wantedFirmware {
      guard let content = try files.content(name) else { continue }
      image.addFile("lib/firmware/\(name)", content: content)
      firmwareCount += 1
    }
    let architecture = try Self.architecture(machine)
    if let wanted = settings.architecture, wanted != architecture {
      throw settings.error(
        "architecture", "found '\(wanted)', and the modules of \(kernel.release) are for \(architecture)")
    }
    return Result(
      early: architecture == "amd64" ? try files.microcode() : [], image: image.finish(), architecture: architecture,
      machine: machine, moduleCount: names.count, firmwareCount: firmwareCount)
  }

  /// The modules that the capsule's settings add; those built into the kernel are there anyway.
  private func addedModules(_ index: ModuleIndex) throws(CapsuleError) -> [String] {
    var names: [String] = []
    for name in settings.modules.add {
      let normal = Module.normalized(name)
      if index.isBuiltIn(normal) { continue }
      guard index.paths[normal] != nil else {
        throw settings.error("modules", "found '\(name)', which is no module of the kernel \(kernel.release)")
      }
      names.append(normal)
    }
    return names
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
        try scratch.write(try tree.read(item), to: "\(directory)/\(pathBelowModules(item))")
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
      case ".ko.zst": contents[path] = try Decompression.zstd(bytes, path: path)
      case ".ko.xz", ".ko.gz":
        let suffix = path.hasSuffix(".xz") ? "xz" : "gz"
        let file = "\(scratch.path)/\(number).ko"
        try scratch.write(bytes, to: "\(file).\(suffix)")
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
