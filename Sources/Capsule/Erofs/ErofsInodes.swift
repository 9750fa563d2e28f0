import CapsuleFormat

/// The inodes of an erofs image: what is in each of them, and where it stands.
struct ErofsInodes {
  private struct Content {
    /// The first block.
    var first: UInt32
    /// Of `clusters`.
    var range: Range<Int>
  }

  private let tree: FileTree
  /// For each item its extended attributes.
  private let attributes: [[UInt8]]
  /// For each item that is another's link, that one; else itself.
  private let targets: [Int]
  /// For each item, its names.
  private var links: [Int]
  private var directories: [Int: ErofsDirectory] = [:]
  /// Blocks that each cluster takes, of all files.
  private var clusters: [UInt8] = []
  private var places: [Int: Content] = [:]
  /// The items whose content does not stand beside their inodes, in order.
  let contents: [Int]

  init(_ tree: FileTree) throws {
    self.tree = tree
    var attributes: [[UInt8]] = []
    attributes.reserveCapacity(tree.items.count)
    for item in tree.items { attributes.append(try ErofsFormat.attributes(of: item.entry)) }
    var wanted: [TreePath: Int] = [:]
    for item in tree.items {
      if case .hardLink(let target) = item.entry.kind { wanted[target] = 0 }
    }
    if !wanted.isEmpty {
      for (number, item) in tree.items.enumerated() where wanted[item.entry.path] != nil {
        wanted[item.entry.path] = number
      }
    }
    var targets = Array(tree.items.indices)
    var links = [Int](repeating: 0, count: tree.items.count)
    var children: [Int: [ErofsDirectory.Entry]] = [:]
    var parents: [Int: Int] = [:]
    // The directories that lead to an item: all that is in a directory follows it at once.
    var open: [(path: TreePath, number: Int)] = []
    for (number, item) in tree.items.enumerated() {
      let entry = item.entry
      if case .hardLink(let target) = entry.kind, let first = wanted[target] { targets[number] = first }
      if !entry.path.isRoot {
        let parent = entry.path.parent
        while let last = open.last, last.path != parent { open.removeLast() }
        guard let directory = open.last?.number else { preconditionFailure("a tree has every entry's parent") }
        let kind = tree.items[targets[number]].entry.kind
        children[directory, default: []].append(
          ErofsDirectory.Entry(name: entry.path.name, item: targets[number], type: ErofsFormat.fileType(kind)))
        links[targets[number]] += 1
        if entry.kind == .directory {
          links[directory] += 1
          parents[number] = directory
        }
      }
      if entry.kind == .directory {
        open.append((entry.path, number))
        links[number] += number == 0 ? 2 : 1
      }
    }
    for (number, item) in tree.items.enumerated() where item.entry.kind == .directory {
      directories[number] = ErofsDirectory(children[number] ?? [], item: number, parent: parents[number] ?? number)
    }
    contents = tree.items.indices.filter { number in
      guard case .file = tree.items[number].entry.kind else { return false }
      return !Self.fitsInline(tree.items[number].entry.size, attributes[number])
    }
    self.attributes = attributes
    self.targets = targets
    self.links = links
  }

  private static func fitsInline(_ size: UInt64, _ attributes: [UInt8]) -> Bool {
    size <= UInt64(max(0, ErofsFormat.blockSize - ErofsFormat.inodeSize - attributes.count))
  }

  /// A file's next clusters are written.
  mutating func addContent(of item: Int, at block: UInt32, _ added: [UInt8]) {
    let start = clusters.count
    clusters += added
    let content = places[item] ?? Content(first: block, range: start..<start)
    places[item] = Content(first: content.first, range: content.range.lowerBound..<clusters.count)
  }

  /// Gives every inode its place, behind what large directories and links have in blocks of their own.
  mutating func place(behind output: inout ErofsImage.Output) throws -> ErofsMetadata {
    var starts = [UInt64](repeating: 0, count: tree.items.count)
    // Number 0 is no inode to many a program.
    var position = UInt64(ErofsFormat.inodeSize)
    var parts: [Range<Int>] = []
    var began = 0
    for (number, item) in tree.items.enumerated() where targets[number] == number {
      let unit = UInt64(ErofsFormat.slotSize)
      position = (position + unit - 1) / unit * unit
      let length = self.length(number, item.entry)
      let block = UInt64(ErofsFormat.blockSize)
      // What stands beside its inode is in the same block.
      if length.isInline, position % block + UInt64(length.bytes) > block {
        position = (position + block - 1) / block * block
      }
      starts[number] = position
      position += UInt64(length.bytes)
      if number - began >= 1024 {
        parts.append(began..<number)
        began = number
      }
    }
    parts.append(began..<tree.items.count)
    guard let root = UInt16(exactly: starts[0] / UInt64(ErofsFormat.slotSize)) else {
      preconditionFailure("the root is the first item")
    }
    var blocks: [Int: UInt32] = [:]
    for (number, item) in tree.items.enumerated() where targets[number] == number {
      guard let bytes = bytes(number, item.entry, starts), !Self.fitsInline(UInt64(bytes.count), attributes[number])
      else { continue }
      blocks[number] = try output.block
      try output.append(bytes)
      try output.padToBlock()
    }
    return ErofsMetadata(
      tree: tree, inodes: self, starts: starts, blocks: blocks, parts: parts, end: position,
      metadata: try output.block, root: root, count: tree.items.indices.filter { targets[$0] == $0 }.count)
  }

  /// Bytes of an inode with what stands behind it, and whether that is content.
  private func length(_ number: Int, _ entry: TarEntry) -> (bytes: Int, isInline: Bool) {
    let bytes = ErofsFormat.inodeSize + attributes[number].count
    let size = self.size(number, entry)
    if size > 0, Self.fitsInline(size, attributes[number]) { return (bytes + Int(size), true) }
    if isCompressed(number, size) {
      return ((bytes + 7) / 8 * 8 + ErofsFormat.indexSize(blocks: ErofsFormat.blocks(size)), false)
    }
    return (bytes, false)
  }

  private func size(_ number: Int, _ entry: TarEntry) -> UInt64 {
    switch entry.kind {
    case .file: entry.size
    case .directory: UInt64(directories[number]?.size ?? 0)
    case .symbolicLink(let target): UInt64(target.count)
    default: 0
    }
  }

  /// Whether any of a file's clusters takes fewer blocks than it holds.
  private func isCompressed(_ number: Int, _ size: UInt64) -> Bool {
    guard let content = places[number] else { return false }
    return blockCount(content) < ErofsFormat.blocks(size)
  }

  private func blockCount(_ content: Content) -> UInt64 {
    clusters[content.range].reduce(0) { $0 + UInt64($1) }
  }

  /// What directories and symbolic links hold.
  private func bytes(_ number: Int, _ entry: TarEntry, _ starts: [UInt64]) -> [UInt8]? {
    switch entry.kind {
    case .directory: directories[number]?.bytes { starts[$0] / UInt64(ErofsFormat.slotSize) }
    case .symbolicLink(let target): target
    default: nil
    }
  }

  /// An inode with what stands behind it; `nil` for a link to another.
  fileprivate func bytes(
    _ number: Int, _ metadata: ErofsMetadata, _ reader: inout ContentReader
  ) throws -> [UInt8]? {
    guard targets[number] == number else { return nil }
    let item = tree.items[number]
    let size = size(number, item.entry)
    func inode(_ layout: ErofsFormat.Layout, _ place: UInt32) -> [UInt8] {
      ErofsFormat.inode(
        of: item.entry, layout, size: size, place: place, number: number + 1, links: links[number],
        attributes: attributes[number].count) + attributes[number]
    }
    if size > 0, Self.fitsInline(size, attributes[number]) {
      if let own = bytes(number, item.entry, metadata.starts) { return inode(.inline, 0) + own }
      var content = [UInt8](repeating: 0, count: Int(size))
      try reader.open(item)
      try content.withUnsafeMutableBytes { try reader.read(into: $0) }
      return inode(.inline, 0) + content
    }
    if let content = places[number] {
      guard isCompressed(number, size) else { return inode(.plain, content.first) }
      var bytes = inode(.compressed, UInt32(clamping: blockCount(content)))
      bytes.pad(to: 8)
      return bytes + ErofsFormat.index(of: size, clusters: clusters[content.range], first: content.first)
    }
    return inode(.plain, metadata.blocks[number] ?? ErofsFormat.device(of: item.entry.kind))
  }
}

/// The part of an erofs image that has the inodes.
struct ErofsMetadata: Sendable {
  fileprivate let tree: FileTree
  fileprivate let inodes: ErofsInodes
  /// For each item its inode's first byte, from the metadata's beginning.
  fileprivate let starts: [UInt64]
  /// Of directories and links that have blocks of their own.
  fileprivate let blocks: [Int: UInt32]
  /// Items that are written together.
  let parts: [Range<Int>]
  /// Bytes of all of it.
  fileprivate let end: UInt64
  /// The block at which it begins, the root's number, and how many inodes there are.
  let metadata: UInt32
  let root: UInt16
  let count: Int

  /// From where the part before it ended.
  func bytes(ofPart part: Int) throws -> [UInt8] {
    let items = parts[part]
    let first = part == 0 ? 0 : start(of: items.lowerBound)
    let end = part + 1 < parts.count ? start(of: items.upperBound) : end
    var bytes: [UInt8] = []
    bytes.reserveCapacity(Int(end - first))
    var reader = ContentReader(source: tree.source)
    for number in items {
      guard let inode = try inodes.bytes(number, self, &reader) else { continue }
      bytes.append(contentsOf: repeatElement(0, count: Int(starts[number] - first) - bytes.count))
      bytes += inode
    }
    bytes.append(contentsOf: repeatElement(0, count: Int(end - first) - bytes.count))
    return bytes
  }

  /// Parts begin with inodes, not with links to them.
  private func start(of item: Int) -> UInt64 { starts[item] }
}
