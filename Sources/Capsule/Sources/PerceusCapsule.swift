import CapsuleFormat

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A capsule of Perceus (`.vnfs`, a tar archive compressed with bzip2), made into a tree that says of itself what its
/// configuration said.
///
/// Its root is `rootfs`. What Perceus ran on its own master (configure, mount and so on), and its scripts for `init`, which
/// fetched the root and started its kernel, are the work of the appliance and of stage 1 now: they are kept below
/// `/etc/perseid/perceus`, to be read.
struct PerceusCapsule {
  private let archive: FileTree
  private let source: String
  private let base: TreePath
  private let note: (String) -> Void
  private var builder: TreeBuilder
  private var spool: Spool

  init(
    archive: FileTree, source: String, limits: SourceLimits, temporaryDirectory: String,
    note: @escaping (String) -> Void
  ) throws {
    self.archive = archive
    self.source = source
    self.note = note
    let tops = archive.names(in: .root)
    let place = ([""] + tops.map { $0 + "/" }).first { archive.directory($0 + "rootfs") != nil }
    guard let place, let base = place.isEmpty ? TreePath.root : archive.directory(place) else {
      throw CapsuleError(
        .badSource, "\(source) is no capsule of Perceus that can be read: it has no rootfs",
        remedy: "Unpack its vnfs.img with the tools of Perceus, and import that directory")
    }
    self.base = base
    builder = TreeBuilder(entryLimit: limits.entries)
    var status = stat()
    guard fstat(archive.source.spool, &status) == 0 else { throw CapsuleError.reading(source, errno: errno) }
    // Its files are there already; what is added comes behind them.
    spool = Spool(
      source: archive.source, temporaryDirectory: temporaryDirectory, limits: limits,
      packed: Int64(status.st_size), after: Int64(status.st_size))
  }

  func tree() throws -> FileTree {
    var result = self
    do {
      return try result.convert()
    } catch let error as TarError {
      throw ArchiveImporter.damaged(source, error.description, atStart: false)
    }
  }

  private mutating func convert() throws -> FileTree {
    try takeRoot()
    let config = try readConfig()
    try takeKernel(config)
    for (key, name) in [("HYBRIDIZE_FILE", "hybridize"), ("LIVESYNCSKIP_FILE", "livesync.skip")] {
      let file = config[key].map { $0.split(separator: "/").last.map(String.init) ?? $0 } ?? name
      guard let item = own(file) ?? own(name) else { continue }
      try add("etc/perseid/\(name)", try archive.read(item, limit: 1 << 20))
      if name == "hybridize", item.entry.size > 0 {
        note(
          "The paths in hybridize stay in the root; root mode overlay keeps what is not read out of the nodes' memory")
      }
    }
    var kept: [String] = []
    for name in ["config", "configure", "mount", "umount", "close", "livesync", "install"] {
      guard let item = own(name) else { continue }
      try add("etc/perseid/perceus/\(name)", try archive.read(item, limit: 1 << 20))
      if name != "config" { kept.append(name) }
    }
    try takeNodescripts(&kept)
    if !kept.isEmpty {
      note("Written for Perceus and kept in /etc/perseid/perceus without being run: \(kept.joined(separator: ", "))")
    }
    try add("etc/perseid/capsule.yaml", Array(settings(config).utf8))
    return builder.finish(source: archive.source)
  }

  private mutating func takeRoot() throws {
    guard let root = try? base.appending(name: "rootfs".utf8) else { return }
    func inside(_ path: TreePath) -> TreePath? {
      guard path.bytes.starts(with: root.bytes + [UInt8(ascii: "/")]) else { return nil }
      return try? TreePath(parsing: path.bytes.dropFirst(root.bytes.count + 1))
    }
    if var top = archive.item(at: root) {
      top.entry.path = .root
      try builder.add(top.entry, content: .none)
    }
    var firstNames: [TreePath: TreePath] = [:]
    for item in archive.descendants(of: root) {
      guard let path = inside(item.entry.path) else { continue }
      if case .hardLink(let target) = item.entry.kind {
        // The file's first name may be beside the root; then the first one inside is the file.
        if let other = inside(target) ?? firstNames[target] {
          try builder.addLink(path, to: other)
          continue
        }
        firstNames[target] = path
      }
      guard var whole = archive.item(at: item.entry.path) else { continue }
      whole.entry.path = path
      try builder.add(whole.entry, content: whole.content)
    }
  }

  /// `KEY=VALUE` lines of a shell's; they are read, never run.
  private func readConfig() throws -> [String: String] {
    guard let item = own("config") else { return [:] }
    var values: [String: String] = [:]
    let text = String(decoding: try archive.read(item, limit: 1 << 20), as: UTF8.self)
    for line in text.split(whereSeparator: \.isNewline) {
      let parts = line.drop { $0 == " " || $0 == "\t" }.split(separator: "=", maxSplits: 1)
      guard parts.count == 2, !line.hasPrefix("#") else { continue }
      var value = parts[1]
      if let quote = value.first, quote == "\"" || quote == "'" {
        value = value.dropFirst().prefix { $0 != quote }
      } else {
        value = value.prefix { $0 != " " && $0 != "\t" && $0 != "#" }
      }
      values[String(parts[0])] = String(value)
    }
    return values
  }

  /// Perceus kept the kernel beside the root.
  private mutating func takeKernel(_ config: [String: String]) throws {
    let root = "\(base.isRoot ? "" : "\(base)/")rootfs"
    let boot = archive.directory("\(root)/boot").map { archive.names(in: $0) } ?? []
    guard !boot.contains(where: { $0.hasPrefix("vmlinuz-") }), let image = own("vmlinuz") else { return }
    let releases =
      ["usr/lib/modules", "lib/modules"].compactMap { archive.directory("\(root)/\($0)") }.first
      .map { archive.names(in: $0) } ?? []
    let named = config["KERNEL"].flatMap { $0.split(separator: "/").last }
      .map { $0.hasPrefix("vmlinuz-") ? String($0.dropFirst(8)) : String($0) }
    guard let release = releases.first(where: { $0 == named }) ?? (releases.count == 1 ? releases.first : nil) else {
      throw CapsuleError(
        .noModules,
        "The kernel of \(source) has no modules: rootfs/lib/modules has \(releases.joined(separator: ", "))",
        remedy: "Install the modules of its kernel in the rootfs, or name the kernel's release as KERNEL in its config")
    }
    try add("boot/vmlinuz-\(release)", try archive.read(image))
  }

  /// There an executable script ran on the master, and what it printed on the node: that is `.server` here.
  private mutating func takeNodescripts(_ kept: inout [String]) throws {
    guard let directory = archive.directory("\(base.isRoot ? "" : "\(base)/")nodescripts") else { return }
    for state in archive.names(in: directory) {
      guard let inside = archive.directory("\(directory)/\(state)") else { continue }
      for file in archive.names(in: inside) {
        guard let item = archive.file("\(inside)/\(file)") else { continue }
        let content = try archive.read(item, limit: NodescriptName.sizeLimit)
        if state != "init", NodescriptName.isValidState(state), NodescriptName.parse(file) != nil {
          let suffix = item.entry.mode & 0o111 != 0 && !file.hasSuffix(".server") ? ".server" : ""
          try add("etc/perseid/nodescripts/\(state)/\(file)\(suffix)", content)
        } else {
          try add("etc/perseid/perceus/nodescripts/\(state)/\(file)", content)
          kept.append("nodescripts/\(state)/\(file)")
        }
      }
    }
  }

  private func settings(_ config: [String: String]) -> String {
    var text = "# Made of \(source.split(separator: "/").last ?? "a .vnfs") of Perceus.\n"
    let file = source.split(separator: "/").last.map { String($0.dropLast(5)).lowercased() } ?? ""
    if CapsuleName.isValid(file) { text += "name: \"\(file)\"\n" }
    // Where root and initramfs come from was Perceus's own affair.
    let own = ["initrd=", "root=", "BOOTIF=", "perseid.", "ramdisk_size="]
    let words = (config["KERNEL_ARGS"] ?? "").split(separator: " ").filter { word in
      !own.contains { word.hasPrefix($0) }
        && word.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "'") }
    }
    if !words.isEmpty { text += "kernelArgs: '\(words.joined(separator: " "))'\n" }
    return text
  }

  /// A file beside the rootfs.
  private func own(_ name: String) -> FileTree.Item? {
    archive.file(base.isRoot ? name : "\(base)/\(name)")
  }

  /// Adds a file to the tree, where the tree has none of that name itself.
  private mutating func add(_ path: String, _ content: [UInt8]) throws {
    guard let path = TreePath(path), !builder.contains(path) else { return }
    let entry = TarEntry(path: path, kind: .file, mode: 0o644, size: UInt64(content.count))
    try builder.add(entry, content: try spool.add(content))
  }
}
