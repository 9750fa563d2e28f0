import CapsuleFormat

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A root file system as data: its entries in order, and where the content of its files is.
///
/// A directory and an archive of it give the same tree. Links are followed inside the tree only, so nothing
/// in it can lead a reader to a file of the host.
struct FileTree: Sendable {
  enum Content: Hashable, Sendable {
    case none
    /// In the file of that path under the source directory.
    case file(Identity)
    /// In the spool, from that byte on.
    case spool(Int64)
  }

  /// What tells one state of a file of the host from another (stat(2)). Whoever writes to a file changes its `changed`
  /// time, and cannot set it.
  struct Identity: Hashable, Sendable {
    var device: Int64
    var inode: Int64
    var size: Int64
    var modifiedSeconds: Int64
    var modifiedNanoseconds: Int64
    var changedSeconds: Int64
    var changedNanoseconds: Int64
  }

  struct Item: Sendable {
    var entry: TarEntry
    var content: Content
  }

  /// Sorted by path; of several hard links to one file the first is the file, and the others link to it.
  let items: [Item]
  /// What the content locations refer to.
  let source: TreeSource
  private let index: [TreePath: Int]

  init(items: [Item], source: TreeSource) {
    self.items = items
    self.source = source
    index = Dictionary(
      items.enumerated().map { ($0.element.entry.path, $0.offset) }, uniquingKeysWith: { first, _ in first })
  }

  /// What is at a path; a hard link gives the file that it names.
  func item(at path: TreePath) -> Item? {
    guard let item = index[path].map({ items[$0] }) else { return nil }
    if case .hardLink(let target) = item.entry.kind { return index[target].map { items[$0] } }
    return item
  }

  /// Where a path leads when every symbolic link on the way is followed, as in a chroot of the tree;
  /// `nil` where nothing is.
  func resolve(_ path: TreePath) -> TreePath? {
    var pending = Array(path.components.map { Array($0) }.reversed())
    var current = TreePath.root
    var links = 0
    while let component = pending.popLast() {
      if component.isEmpty || component == [UInt8(ascii: ".")] { continue }
      if component == Array("..".utf8) {
        current = current.parent
        continue
      }
      guard let next = try? current.appending(name: component), let item = item(at: next) else { return nil }
      if case .symbolicLink(let target) = item.entry.kind {
        links += 1
        guard links <= 40 else { return nil }
        if target.first == UInt8(ascii: "/") { current = .root }
        pending += target.split(separator: UInt8(ascii: "/")).map { Array($0) }.reversed()
      } else {
        current = next
      }
    }
    return index[current] == nil && !current.isRoot ? nil : current
  }

  /// The file a path leads to, links followed; `nil` where there is no file.
  func file(_ path: String) -> Item? {
    guard let resolved = TreePath(path).flatMap(resolve), let item = item(at: resolved) else { return nil }
    guard case .file = item.entry.kind else { return nil }
    return item
  }

  /// The directory a path leads to, links followed; `nil` where there is none.
  func directory(_ path: String) -> TreePath? {
    guard let resolved = TreePath(path).flatMap(resolve) else { return nil }
    if resolved.isRoot { return resolved }
    guard let item = item(at: resolved), item.entry.kind == .directory else { return nil }
    return resolved
  }

  /// All that is below a directory, in order.
  func descendants(of directory: TreePath) -> ArraySlice<Item> {
    if directory.isRoot { return items[...] }
    guard let start = index[directory].map({ $0 + 1 }) else { return [] }
    // All of it follows the directory at once.
    let prefix = directory.bytes + [UInt8(ascii: "/")]
    var (low, high) = (start, items.count)
    while low < high {
      let middle = (low + high) / 2
      if items[middle].entry.path.bytes.starts(with: prefix) { low = middle + 1 } else { high = middle }
    }
    return items[start..<low]
  }

  /// The names in a directory.
  func names(in directory: TreePath) -> [String] {
    let depth = directory.isRoot ? 0 : directory.bytes.count + 1
    return descendants(of: directory).compactMap { item in
      let rest = item.entry.path.bytes.dropFirst(depth)
      return rest.isEmpty || rest.contains(UInt8(ascii: "/")) ? nil : String(decoding: rest, as: UTF8.self)
    }
  }

  /// The whole content of a file.
  ///
  /// - Parameter limit: In bytes; a larger file is an error.
  func read(_ item: Item, limit: Int = 256 << 20) throws(CapsuleError) -> [UInt8] {
    guard item.entry.size <= UInt64(limit) else {
      throw CapsuleError(
        .badSource, "'\(item.entry.path)' in the tree has \(item.entry.size) bytes; at most \(limit) make sense there",
        remedy: "Check that file, and import again")
    }
    var bytes = [UInt8](repeating: 0, count: Int(item.entry.size))
    var reader = ContentReader(source: source)
    try reader.open(item)
    var failure: CapsuleError?
    bytes.withUnsafeMutableBytes { buffer in
      do throws(CapsuleError) { try reader.read(into: buffer) } catch { failure = error }
    }
    if let failure { throw failure }
    return bytes
  }

  /// The text of a small file, `nil` where there is none.
  func text(_ path: String) throws(CapsuleError) -> String? {
    guard let item = file(path) else { return nil }
    return String(decoding: try read(item, limit: 16 << 20), as: UTF8.self)
  }
}

/// Where the contents of a tree are.
final class TreeSource: Sendable {
  /// The source directory, without a slash at the end.
  let directory: [UInt8]?
  /// A file without a name, so that nothing is left of it however the process ends; -1 where there is none.
  let spool: Int32
  /// For people: the source as they named it.
  let name: String
  /// Whether it is a scratch directory, which nobody sees: its name is then what the tree is made of.
  let isScratch: Bool

  /// - Parameter title: What a scratch directory is made of, for people: `the recipe compute.yaml`.
  init(directory: String, title: String? = nil) {
    self.directory = Array(directory.utf8)
    spool = -1
    name = title ?? directory
    isScratch = title != nil
  }

  init(archive: String, temporaryDirectory: String) throws(CapsuleError) {
    directory = nil
    name = archive
    isScratch = false
    let path = "\(temporaryDirectory)/blob-spool-\(getpid())-\(UInt64.random(in: 0...UInt64.max))"
    spool = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard spool >= 0 else { throw .writing(path, errno: errno) }
    unlink(path)
  }

  deinit {
    if spool >= 0 { close(spool) }
  }

  /// The tree, for people, behind an article.
  var words: String { isScratch ? "tree of \(name)" : "tree \(name)" }

  /// An entry, for people.
  func words(of path: TreePath) -> String {
    if isScratch { return "/\(path) in the \(words)" }
    return path.isRoot ? name : "\(name)/\(path)"
  }

  /// A path of the host for an entry, as a C string.
  func hostPath(_ path: TreePath) -> [CChar] {
    let bytes = (directory ?? []) + (path.isRoot ? [] : [UInt8(ascii: "/")] + path.bytes)
    return bytes.map { CChar(bitPattern: $0) } + [0]
  }
}

/// Reads file contents of a tree one after the other.
struct ContentReader: ~Copyable {
  private let source: TreeSource
  private var file: FileDescriptor?
  private var offset: Int64 = 0
  private var path = TreePath.root

  init(source: TreeSource) {
    self.source = source
  }

  /// Begins the content of a file, so many bytes behind its beginning.
  mutating func open(_ item: FileTree.Item, at first: UInt64 = 0) throws(CapsuleError) {
    path = item.entry.path
    file = nil
    offset = Int64(clamping: first)
    switch item.content {
    case .none: break
    case .spool(let start): offset += start
    case .file:
      let hostPath = source.hostPath(path)
      #if canImport(Glibc)
        let number = Glibc.open(hostPath, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
      #else
        let number = Musl.open(hostPath, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
      #endif
      guard number >= 0 else { throw .reading(source.words(of: path), errno: errno) }
      file = FileDescriptor(owning: number)
    }
  }

  /// Fills the whole buffer with what comes next.
  mutating func read(into buffer: UnsafeMutableRawBufferPointer) throws(CapsuleError) {
    var filled = 0
    while filled < buffer.count {
      let start = buffer.baseAddress.map { $0 + filled }
      let count = pread(file?.number ?? source.spool, start, buffer.count - filled, off_t(offset))
      if count < 0 && errno == EINTR { continue }
      guard count >= 0 else { throw .reading(source.words(of: path), errno: errno) }
      guard count > 0 else {
        throw CapsuleError(
          .unreadable, "'\(path)' in the \(source.words) became shorter while it was read",
          remedy: "Let nothing write to the tree during the import, and import again")
      }
      filled += count
      offset += Int64(count)
    }
  }
}
