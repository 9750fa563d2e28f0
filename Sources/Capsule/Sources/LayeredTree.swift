import CapsuleFormat

/// One layer of a container image as it was read (OCI image specification, layer).
struct ImageLayer {
  var additions: [(entry: TarEntry, content: FileTree.Content)] = []
  /// Names of lower layers that are gone.
  var whiteouts: [TreePath] = []
  /// Directories of which everything in lower layers is gone.
  var opaque: [TreePath] = []
}

/// Layers put one on another into one tree.
///
/// "Whiteout files MUST only apply to resources in lower/parent layers": so those of a layer come first, then what it adds,
/// whatever their order in its archive. Parents are looked for as a container runtime does: links on the way are followed,
/// inside the tree.
struct LayeredTree {
  /// A file as it is, whatever its names.
  private struct Node {
    var entry: TarEntry
    var content: FileTree.Content
  }

  /// A name in a directory.
  private struct Name {
    var node: Int
    /// Of a directory: places in `names` by name.
    var children: [[UInt8]: Int] = [:]
  }

  private var nodes: [Node]
  private var names: [Name]
  private let entryLimit: Int

  init(entryLimit: Int) {
    nodes = [Node(entry: TarEntry(path: .root, kind: .directory, mode: 0o755), content: .none)]
    names = [Name(node: 0)]
    self.entryLimit = entryLimit
  }

  mutating func apply(_ layer: ImageLayer) throws {
    for path in layer.opaque {
      guard let directory = try directory(path, create: false) else { continue }
      names[directory].children = [:]
    }
    for path in layer.whiteouts {
      guard let parent = try directory(path.parent, create: false) else { continue }
      names[parent].children[Array(path.name)] = nil
    }
    for (entry, content) in layer.additions { try add(entry, content) }
  }

  private mutating func add(_ entry: TarEntry, _ content: FileTree.Content) throws {
    var entry = entry
    try TreeRules.check(&entry)
    if entry.path.isRoot {
      guard entry.kind == .directory else { throw TarError.unsafePath(".", reason: "the root is not a directory") }
      nodes[0].entry = entry
      return
    }
    guard let parent = try directory(entry.path.parent, create: true) else { return }
    let name = Array(entry.path.name)
    let before = names[parent].children[name]
    if case .hardLink(let target) = entry.kind {
      let reason = "it is a hard link to '\(target)', which is not there"
      guard let place = try directory(target.parent, create: false),
        let found = names[place].children[Array(target.name)], nodes[names[found].node].entry.kind != .directory
      else { throw TarError.unsafePath("\(entry.path)", reason: reason) }
      names[parent].children[name] = try newName(names[found].node)
      return
    }
    if entry.kind == .directory, let before, nodes[names[before].node].entry.kind == .directory {
      // It keeps what is in it.
      nodes[names[before].node].entry = entry
      return
    }
    nodes.append(Node(entry: entry, content: content))
    names[parent].children[name] = try newName(nodes.count - 1)
  }

  private mutating func newName(_ node: Int) throws(TarError) -> Int {
    guard names.count < entryLimit else { throw .tooLarge("the number of entries", limit: entryLimit) }
    names.append(Name(node: node))
    return names.count - 1
  }

  /// The directory a path leads to.
  ///
  /// - Parameter create: Whether what is missing is made, plain directories of root's.
  /// - Returns: `nil` where it is not there, or no directory.
  private mutating func directory(_ path: TreePath, create: Bool) throws -> Int? {
    var pending = Array(path.components.map { Array($0) }.reversed())
    var trail = [0]
    var links = 0
    while let component = pending.popLast() {
      if component.isEmpty || component == [UInt8(ascii: ".")] { continue }
      if component == Array("..".utf8) {
        if trail.count > 1 { trail.removeLast() }
        continue
      }
      let here = trail[trail.count - 1]
      guard let child = names[here].children[component] else {
        guard create else { return nil }
        let plain = TarEntry(path: try TreePath(parsing: component), kind: .directory, mode: 0o755)
        nodes.append(Node(entry: plain, content: .none))
        let made = try newName(nodes.count - 1)
        names[here].children[component] = made
        trail.append(made)
        continue
      }
      switch nodes[names[child].node].entry.kind {
      case .directory: trail.append(child)
      case .symbolicLink(let target):
        links += 1
        guard links <= 40 else { throw TarError.unsafePath("\(path)", reason: "too many links are on the way") }
        if target.first == UInt8(ascii: "/") { trail = [0] }
        pending += target.split(separator: UInt8(ascii: "/")).map { Array($0) }.reversed()
      default:
        guard create else { return nil }
        throw TarError.unsafePath("\(path)", reason: "another entry goes through it, and it is not a directory")
      }
    }
    return trail.last
  }

  /// The tree: sorted, the first name of each file being the file.
  func finish(source: TreeSource) throws -> FileTree {
    var items: [FileTree.Item] = []
    var firstNames: [Int: TreePath] = [:]
    var pending: [(path: TreePath, name: Int)] = [(.root, 0)]
    while let (path, number) = pending.popLast() {
      let name = names[number]
      var item = FileTree.Item(entry: nodes[name.node].entry, content: nodes[name.node].content)
      item.entry.path = path
      if let first = firstNames[name.node] {
        item.entry.kind = .hardLink(to: first)
        item.entry.size = 0
        item.entry.extendedAttributes = []
        item.content = .none
      } else if item.entry.kind != .directory {
        firstNames[name.node] = path
      }
      items.append(item)
      // The last to be pushed comes first; all that is in a directory follows it at once.
      for child in name.children.sorted(by: { $1.key.lexicographicallyPrecedes($0.key) }) {
        pending.append((try path.appending(name: child.key), child.value))
      }
    }
    return FileTree(items: items, source: source)
  }
}
