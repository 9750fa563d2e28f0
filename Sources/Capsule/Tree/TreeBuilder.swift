import CapsuleFormat

/// Gathers entries in any order into a `FileTree`, with the rules that make it one tree:
/// parents exist, names are unique, links name what is there.
struct TreeBuilder {
  /// The most entries a tree may have: memory for them is taken before anything is stored.
  private let entryLimit: Int

  private struct Node {
    var entry: TarEntry
    var content: FileTree.Content
  }

  private var nodes: [Node] = []
  private var names: [TreePath: Int] = [:]

  init(entryLimit: Int = SourceLimits().entries) {
    self.entryLimit = entryLimit
  }

  /// The number of a node that entries added later may be further names of.
  typealias NodeNumber = Int

  /// Adds an entry that is not a hard link. One of the same path that came before is replaced, as tar does;
  /// a directory keeps what is in it.
  @discardableResult
  mutating func add(_ entry: TarEntry, content: FileTree.Content) throws(TarError) -> NodeNumber {
    guard names.count < entryLimit else { throw .tooLarge("the number of entries", limit: entryLimit) }
    var entry = entry
    try TreeRules.check(&entry)
    if let previous = names[entry.path], nodes[previous].entry.kind == .directory {
      guard entry.kind == .directory else {
        throw .unsafePath("\(entry.path)", reason: "it takes the place of a directory")
      }
      nodes[previous].entry = entry
      return previous
    }
    guard !entry.path.isRoot || entry.kind == .directory else {
      throw .unsafePath(".", reason: "the root is not a directory")
    }
    try addParents(of: entry.path)
    nodes.append(Node(entry: entry, content: content))
    names[entry.path] = nodes.count - 1
    return nodes.count - 1
  }

  func contains(_ path: TreePath) -> Bool { names[path] != nil }

  /// Adds another name of what a path names already.
  mutating func addLink(_ path: TreePath, to target: TreePath) throws(TarError) {
    guard let number = names[target], nodes[number].entry.kind != .directory else {
      throw .unsafePath("\(path)", reason: "it is a hard link to '\(target)', which is not there")
    }
    try addLink(path, to: number)
  }

  /// Adds another name of a node.
  mutating func addLink(_ path: TreePath, to number: NodeNumber) throws(TarError) {
    guard names.count < entryLimit else { throw .tooLarge("the number of entries", limit: entryLimit) }
    if let previous = names[path], nodes[previous].entry.kind == .directory {
      throw .unsafePath("\(path)", reason: "it takes the place of a directory")
    }
    try addParents(of: path)
    names[path] = number
  }

  /// A parent that no entry gave is a plain directory of root's; one that is something else is an error.
  private mutating func addParents(of path: TreePath) throws(TarError) {
    var path = path
    while !path.isRoot {
      path = path.parent
      if let number = names[path] {
        guard nodes[number].entry.kind == .directory else {
          throw .unsafePath("\(path)", reason: "another entry goes through it, and it is not a directory")
        }
        return
      }
      nodes.append(Node(entry: TarEntry(path: path, kind: .directory, mode: 0o755), content: .none))
      names[path] = nodes.count - 1
    }
  }

  /// The tree: sorted, the first name of each file being the file.
  consuming func finish(source: TreeSource) -> FileTree {
    var firstNames: [Int: TreePath] = [:]
    let items = names.keys.sorted().compactMap { path -> FileTree.Item? in
      guard let number = names[path] else { return nil }
      var item = FileTree.Item(entry: nodes[number].entry, content: nodes[number].content)
      item.entry.path = path
      if let first = firstNames[number] {
        item.entry.kind = .hardLink(to: first)
        item.entry.size = 0
        item.entry.extendedAttributes = []
        item.content = .none
      } else {
        firstNames[number] = path
      }
      return item
    }
    return FileTree(items: items, source: source)
  }
}
