import CapsuleFormat

import struct Crypto.SHA256

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Reads whatever a capsule can be made of into a tree.
struct SourceReader {
  let temporaryDirectory: String
  let limits: SourceLimits
  /// `amd64` or `arm64`: which of an image's platforms is taken.
  let architecture: String
  let progress: ProgressHandler
  /// What a scratch directory that is read is made of, for people.
  var title: String?

  static let remedy =
    "Name a directory or tar archive with a root file system, the image of a container (a directory or archive, or "
    + "docker://REGISTRY/NAME:TAG), or a .vnfs of Perceus"

  /// - Parameter source: A path, or `docker://NAME`, or `oci:`, `oci-archive:` or `docker-archive:` with a path and, behind
  ///   another colon, the name of one of several images there.
  func read(_ source: String) throws -> FileTree {
    if source.hasPrefix("docker://") { return try pulled(source) }
    for scheme in ["oci:", "oci-archive:", "docker-archive:"] where source.hasPrefix(scheme) {
      let (path, tag) = Self.split(String(source.dropFirst(scheme.count)))
      let layout = try files(path)
      guard ContainerImage.isImage(layout) else {
        throw CapsuleError(.badSource, "\(path) is not the image of a container", remedy: Self.remedy)
      }
      return try flattened(ContainerImage(layout: layout, source: path, tag: tag, architecture: architecture))
    }
    let tree = try files(source)
    if ContainerImage.isImage(tree) {
      return try flattened(ContainerImage(layout: tree, source: source, tag: nil, architecture: architecture))
    }
    guard source.hasSuffix(".vnfs") else { return tree }
    return try PerceusCapsule(archive: tree, source: source, limits: limits, temporaryDirectory: temporaryDirectory) {
      note in progress(BuildProgress(phase: .reading, completedBytes: 0, totalBytes: nil, note: note))
    }.tree()
  }

  /// A path, and what stands behind the first colon that is not part of it.
  private static func split(_ text: String) -> (path: String, tag: String?) {
    for place in text.indices where text[place] == ":" {
      let path = String(text[..<place])
      if access(path, F_OK) == 0 { return (path, String(text[text.index(after: place)...])) }
    }
    return (text, nil)
  }

  private func files(_ path: String) throws -> FileTree {
    var status = stat()
    guard stat(path, &status) == 0 else {
      throw CapsuleError(
        .badSource, "\(path) cannot be imported: \(CapsuleError.text(of: errno))", remedy: Self.remedy)
    }
    switch status.st_mode & S_IFMT {
    case S_IFDIR: return try DirectoryScanner.scan(path, title: title, progress: progress)
    case S_IFREG:
      return try ArchiveImporter.read(
        path, temporaryDirectory: temporaryDirectory, limits: limits, progress: progress)
    default: throw CapsuleError(.badSource, "\(path) is neither a directory nor a file", remedy: Self.remedy)
    }
  }

  /// An image of a registry, fetched by skopeo, which knows their protocols and the person's credentials.
  private func pulled(_ reference: String) throws -> FileTree {
    let scratch = try ScratchDirectory(in: temporaryDirectory)
    let directory = scratch.path + "/image"
    progress(
      BuildProgress(phase: .reading, completedBytes: 0, totalBytes: nil, note: "fetching \(reference) with skopeo"))
    try Tool(
      ["skopeo", "--override-os", "linux", "--override-arch", architecture, "copy", reference, "oci:\(directory)"],
      package: "skopeo", purpose: "Fetching the image \(reference)", timeLimit: 3600
    ).run()
    let layout = try DirectoryScanner.scan(directory, progress: { _ in })
    return try flattened(
      ContainerImage(layout: layout, source: reference, tag: nil, architecture: architecture))
  }

  // MARK: - Layers

  private func flattened(_ image: ContainerImage) throws -> FileTree {
    let layers = try image.layers()
    let packed = layers.reduce(Int64(0)) { $0 + Int64(clamping: $1.item.entry.size) }
    let source = try TreeSource(archive: image.source, temporaryDirectory: temporaryDirectory)
    var spool = Spool(source: source, temporaryDirectory: temporaryDirectory, limits: limits, packed: packed)
    var tree = LayeredTree(entryLimit: limits.entries)
    var completed: Int64 = 0
    for (number, layer) in layers.enumerated() {
      let what = "layer \(number + 1) of \(layers.count) of the image \(image.source)"
      var digest: Digest?
      let file = try copy(layer.item, of: image.layout, digest: &digest)
      if let expected = layer.digest, digest != expected { throw image.bad("\(what) is not what its digest says") }
      var hash = SHA256()
      var sink = LayerSink(spool: spool, entryLimit: limits.entries)
      var reader = TarReader(keepsACLText: true)
      do {
        try ArchiveImporter.decompress(file, path: what) { piece in
          hash.update(bufferPointer: piece)
          try reader.consume(piece, into: &sink)
        }
        try reader.finish()
        guard Digest(bytes: Array(hash.finalize())) == layer.difference else {
          throw image.bad("\(what) unpacks to something else than its digest \(layer.difference) says")
        }
        try tree.apply(sink.layer)
      } catch let error as TarError {
        throw ArchiveImporter.damaged(what, error.description, atStart: false)
      } catch let error as ZstdError {
        throw ArchiveImporter.damaged(what, error.description, atStart: false)
      }
      spool = sink.spool
      completed += Int64(clamping: layer.item.entry.size)
      progress(BuildProgress(phase: .reading, completedBytes: completed, totalBytes: packed))
    }
    return try ACLText.translated(try tree.finish(source: source))
  }

  /// A layer's blob in a file of its own, which nobody else can change between its check and its use.
  private func copy(_ item: FileTree.Item, of layout: FileTree, digest: inout Digest?) throws -> FileDescriptor {
    let file = try FileDescriptor.unnamed(in: temporaryDirectory)
    var reader = ContentReader(source: layout.source)
    try reader.open(item)
    var hash = SHA256()
    var left = item.entry.size
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
    defer { buffer.deallocate() }
    while left > 0 {
      try Task.checkCancellation()
      let piece = UnsafeMutableRawBufferPointer(rebasing: buffer[..<Int(min(left, UInt64(buffer.count)))])
      try reader.read(into: piece)
      hash.update(bufferPointer: UnsafeRawBufferPointer(piece))
      guard file.writeAll(UnsafeRawBufferPointer(piece)) else {
        throw CapsuleError.writing(temporaryDirectory, errno: errno)
      }
      left -= UInt64(piece.count)
    }
    digest = Digest(bytes: Array(hash.finalize()))
    guard lseek(file.number, 0, SEEK_SET) == 0 else { throw CapsuleError.reading(temporaryDirectory, errno: errno) }
    return file
  }
}

/// Takes the entries of a layer as they come; what they do to the tree is `LayeredTree`'s work.
private struct LayerSink: TarSink {
  var spool: Spool
  let entryLimit: Int
  var layer = ImageLayer()

  init(spool: Spool, entryLimit: Int) {
    self.spool = spool
    self.entryLimit = entryLimit
  }

  mutating func entry(_ entry: TarEntry) throws {
    let count = layer.additions.count + layer.whiteouts.count + layer.opaque.count
    guard count < entryLimit else { throw TarError.tooLarge("the number of entries", limit: entryLimit) }
    let name = entry.path.name
    let mark = Whiteout.prefix
    // What follows takes its place in the spool whatever the entry is.
    var content = FileTree.Content.none
    if case .file = entry.kind { content = try spool.begin(size: entry.size) }
    guard name.starts(with: mark) else {
      layer.additions.append((entry, content))
      return
    }
    let hidden = name.dropFirst(mark.count)
    if hidden.elementsEqual(".wh..opq".utf8) {
      layer.opaque.append(entry.path.parent)
    } else if !hidden.starts(with: mark) {
      guard !hidden.isEmpty, !hidden.elementsEqual(".".utf8) else {
        throw TarError.unsafePath("\(entry.path)", reason: "it is the mark of a deleted file without its name")
      }
      layer.whiteouts.append(try entry.path.parent.appending(name: hidden))
    }
    // Others that begin so are a storage driver's own business.
  }

  mutating func content(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws {
    try spool.write(bytes, at: offset)
  }

  mutating func endEntry() throws { try spool.finish() }
}
