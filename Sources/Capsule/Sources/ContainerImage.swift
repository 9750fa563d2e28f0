import CapsuleFormat
import FoundationEssentials

/// A container image in a directory or archive: an OCI image layout, or what `docker save` writes.
///
/// Nothing is believed that a digest does not prove: the manifest and configuration are checked before they are read, each
/// layer before it is decompressed, and what it decompresses to as well.
struct ContainerImage {
  /// The directory or archive as a tree of files.
  let layout: FileTree
  /// The source as the person named it.
  let source: String
  /// The image's name where several are there.
  let tag: String?
  /// `amd64` or `arm64`.
  let architecture: String

  struct Layer {
    var item: FileTree.Item
    /// Of the blob as it is stored; `nil` where nothing gives it (Docker's own archives name uncompressed layers).
    var digest: Digest?
    /// Of the layer uncompressed.
    var difference: Digest
  }

  /// Whether a directory or archive is an image rather than a root file system.
  static func isImage(_ tree: FileTree) -> Bool { isLayout(tree) || isSaved(tree) }

  private static func isLayout(_ tree: FileTree) -> Bool {
    tree.file("oci-layout") != nil && tree.file("index.json") != nil
  }

  private static func isSaved(_ tree: FileTree) -> Bool {
    tree.file("manifest.json") != nil && tree.directory("etc") == nil && tree.directory("usr") == nil
  }

  /// The layers, the lowest first.
  func layers() throws -> [Layer] {
    Self.isLayout(layout) ? try layersOfLayout() : try layersOfSaved()
  }

  func bad(_ problem: String) -> CapsuleError {
    CapsuleError(
      .badArchive, "The image \(source) cannot be used: \(problem)",
      remedy: "Pull or save the image again, and import that")
  }

  // MARK: - OCI image layout

  private func layersOfLayout() throws -> [Layer] {
    guard let item = layout.file("index.json") else { throw bad("it has no index.json") }
    let index: ImageModel.Index = try decode(try layout.read(item, limit: ImageModel.sizeLimit), "index.json")
    let reference = try choose(among: index.manifests, depth: 0)
    let manifest: ImageModel.Manifest = try document(reference, "manifest")
    if manifest.artifactType == MediaType.capsule || manifest.config.mediaType == MediaType.config {
      throw CapsuleError(
        .badSource, "\(source) is a capsule, not the image of a container",
        remedy: "Import it as a file whose name ends in .capsule")
    }
    let config: ImageModel.Config = try document(manifest.config, "configuration")
    try check(config)
    guard config.rootfs.differences.count == manifest.layers.count else {
      let count = config.rootfs.differences.count
      throw bad("its manifest names \(manifest.layers.count) layers, its configuration \(count)")
    }
    return try zip(manifest.layers, config.rootfs.differences).map { layer, difference in
      Layer(item: try blob(layer), digest: try digest(layer.digest), difference: try digest(difference))
    }
  }

  /// The one manifest for our architecture.
  private func choose(among references: [ImageModel.Reference], depth: Int) throws -> ImageModel.Reference {
    let usable = references.filter {
      ImageModel.indexTypes.contains($0.mediaType) || ImageModel.manifestTypes.contains($0.mediaType)
    }
    var candidates = usable
    if depth == 0, let tag { candidates = usable.filter { Self.isName(tag, of: $0.name) } }
    let named = candidates
    candidates = candidates.filter { reference in
      reference.platform.map { $0.os == "linux" && $0.architecture == architecture } ?? true
    }
    // Beside images builders put what says how they were built; its platform is "unknown".
    guard let first = candidates.first else {
      if let tag, named.isEmpty {
        throw bad("it has no image '\(tag)'; there are \(Self.words(usable.compactMap(\.name)))")
      }
      let platforms = named.compactMap(\.platform).map { "\($0.os)/\($0.architecture)" }
      throw bad("it has none for linux/\(architecture), only \(Self.words(platforms))")
    }
    guard candidates.allSatisfy({ $0.digest == first.digest }) else {
      throw CapsuleError(
        .badSource, "\(source) holds several images: \(Self.words(candidates.map { $0.name ?? $0.digest }))",
        remedy: "Name one of them: oci:\(source):NAME")
    }
    guard ImageModel.indexTypes.contains(first.mediaType) else { return first }
    guard depth < 4 else { throw bad("its indexes lead from one to the next without an end") }
    let index: ImageModel.Index = try document(first, "index")
    return try choose(among: index.manifests, depth: depth + 1)
  }

  /// A name may be given without what stands before it: `test:1`, or `1`, for `docker.io/acme/test:1`.
  private static func isName(_ tag: String, of name: String?) -> Bool {
    guard let name else { return false }
    return name == tag || name.hasSuffix(":" + tag) || name.hasSuffix("/" + tag)
  }

  private static func words(_ names: [String]) -> String {
    names.isEmpty ? "none" : Array(Set(names)).sorted().joined(separator: ", ")
  }

  private func document<Value: Decodable>(_ reference: ImageModel.Reference, _ what: String) throws -> Value {
    let bytes = try layout.read(try blob(reference), limit: ImageModel.sizeLimit)
    guard Digest(of: bytes) == (try digest(reference.digest)) else {
      throw bad("its \(what) is not what the digest \(reference.digest) says")
    }
    return try decode(bytes, what)
  }

  private func blob(_ reference: ImageModel.Reference) throws -> FileTree.Item {
    let digest = try digest(reference.digest)
    guard let item = layout.file("blobs/sha256/\(digest.hexadecimal)") else {
      throw bad("its blob \(digest) is missing")
    }
    guard Int64(clamping: item.entry.size) == reference.size else {
      throw bad("its blob \(digest) has \(item.entry.size) bytes instead of \(reference.size)")
    }
    return item
  }

  private func digest(_ text: String) throws -> Digest {
    guard let digest = Digest(text) else {
      throw bad("'\(text.prefix(100))' is not a digest that is supported (sha256)")
    }
    return digest
  }

  private func decode<Value: Decodable>(_ bytes: [UInt8], _ what: String) throws -> Value {
    do {
      return try JSONDecoder().decode(Value.self, from: Data(bytes))
    } catch {
      throw bad("its \(what) cannot be read (\(error))")
    }
  }

  private func check(_ config: ImageModel.Config) throws {
    guard config.os == "linux", config.architecture == architecture else {
      throw bad("it is for \(config.os)/\(config.architecture), and capsules made here are for linux/\(architecture)")
    }
    guard config.rootfs.type == "layers" else { throw bad("its root is of the kind '\(config.rootfs.type)'") }
  }

  // MARK: - docker save

  private func layersOfSaved() throws -> [Layer] {
    guard let item = layout.file("manifest.json") else { throw bad("it has no manifest.json") }
    let images: [ImageModel.Saved] = try decode(try layout.read(item, limit: ImageModel.sizeLimit), "manifest.json")
    let named = images.filter { image in
      tag.map { tag in image.tags?.contains { Self.isName(tag, of: $0) } ?? false } ?? true
    }
    guard let image = named.first, named.count == 1 else {
      let tags = Self.words(images.flatMap { $0.tags ?? [] })
      throw CapsuleError(
        .badSource, "\(source) holds \(images.count) images with these names: \(tags)",
        remedy: "Name one of them: docker-archive:\(source):NAME")
    }
    guard let configItem = layout.file(image.config) else { throw bad("its configuration \(image.config) is missing") }
    let bytes = try layout.read(configItem, limit: ImageModel.sizeLimit)
    // "<HEX>.json", or in newer ones "blobs/sha256/<HEX>".
    let name = image.config.split(separator: "/").last.map { $0.hasSuffix(".json") ? $0.dropLast(5) : $0 } ?? ""
    guard let expected = Digest(hexadecimal: String(name)), Digest(of: bytes) == expected else {
      throw bad("its configuration is not what its name \(image.config) says")
    }
    let config: ImageModel.Config = try decode(bytes, "configuration")
    try check(config)
    guard config.rootfs.differences.count == image.layers.count else {
      throw bad("its manifest names \(image.layers.count) layers, its configuration \(config.rootfs.differences.count)")
    }
    return try zip(image.layers, config.rootfs.differences).map { path, difference in
      guard let item = layout.file(path) else { throw bad("its layer \(path) is missing") }
      return Layer(item: item, digest: nil, difference: try digest(difference))
    }
  }
}
