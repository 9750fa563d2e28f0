import CLinux
package import CapsuleFormat
import Glibc

/// Writes the entries of a tar stream into a directory, as GNU tar does with all that it can keep.
///
/// Every path is walked from the directory's descriptor component by component, and no symbolic link
/// is ever followed: whatever the stream says, nothing outside the directory is touched. Directories get their modes,
/// times and attributes when the stream leaves them, which in a capsule's it does once; where a stream comes back to one,
/// it gets them again.
///
/// In a tree that is in use each file is written beside its place and renamed into it: who has the old one open keeps
/// it, and nobody ever sees half a file.
package final class TreeWriter: TarSink {
  private let root: CInt
  private let label: String
  private let isLive: Bool
  /// The device of the tree in use and the number of its mount: what is mounted in it has another of one or both.
  private let device: dev_t
  private let mount: Int64
  /// The directories from the root down to where the last entry went, open.
  private var open: [(name: ArraySlice<UInt8>, descriptor: CInt)] = []
  /// The directories that the stream is in, each in the one before it, and what they are to be: as many as a path has
  /// components, however large the tree is.
  private var directories: [TarEntry] = []
  private var current: (entry: TarEntry, descriptor: CInt, end: UInt64)?
  /// Names of attributes that this file system does not keep, and how often: user attributes on an older
  /// kernel's tmpfs.
  package private(set) var refusedAttributes: [String: Int] = [:]

  /// What is written beside its place, one at a time.
  private static let temporary = ".perseid-livesync".utf8.map { CChar(bitPattern: $0) } + [0]

  /// - Parameters:
  ///   - path: A directory that is there.
  ///   - isLive: Whether the tree is in use.
  package init(_ path: String, isLive: Bool = false) throws(SystemError) {
    label = path
    self.isLive = isLive
    root = try OpenFile(path, flags: O_RDONLY | O_DIRECTORY).release()
    var status = stat()
    device = fstat(root, &status) == 0 ? status.st_dev : 0
    mount = clinux_mount_number(root)
  }

  deinit {
    // What could not be finished: a full root would stay full.
    if isLive { unlinkat(open.last?.descriptor ?? root, Self.temporary, 0) }
    if let current { close(current.descriptor) }
    for directory in open { close(directory.descriptor) }
    close(root)
  }

  /// Something is mounted there, in a tree in use: it is nobody's generation's, and may be shared with other machines.
  package struct Mounted: Error, Hashable, Sendable {
    /// Absolute, in the tree.
    package var path: String
  }

  /// - Throws: `SystemError`, `Mounted`; the entry is passed over then.
  package func entry(_ entry: TarEntry) throws {
    try leaveDirectories(for: entry.path)
    guard !entry.path.isRoot else {
      if case .directory = entry.kind {
        directories.removeAll { $0.path.isRoot }
        directories.insert(entry, at: 0)
      }
      return
    }
    let parent = try openParent(of: entry.path)
    if case .directory = entry.kind {
      try makeDirectory(Self.terminated(entry.path.name), in: parent, entry.path)
      if isLive { close(try openDirectory(entry.path)) }
      directories.append(entry)
      return
    }
    let name = isLive ? Self.temporary : Self.terminated(entry.path.name)
    switch entry.kind {
    case .directory: break
    case .file:
      let descriptor = try create(name, entry.path) {
        openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
      }
      current = (entry, descriptor, 0)
    case .symbolicLink(let target):
      let target = Self.terminated(target[...])
      try create(name, entry.path) { symlinkat(target, parent, name) }
      try finishWithoutContent(entry, name, in: parent)
    case .hardLink(let original):
      try link(entry.path, name, in: parent, to: original)
    case .characterDevice(let major, let minor):
      try create(name, entry.path) { mknodat(parent, name, S_IFCHR | 0o600, dev_t(clinux_makedev(major, minor))) }
      try finishWithoutContent(entry, name, in: parent)
    case .blockDevice(let major, let minor):
      try create(name, entry.path) { mknodat(parent, name, S_IFBLK | 0o600, dev_t(clinux_makedev(major, minor))) }
      try finishWithoutContent(entry, name, in: parent)
    case .fifo:
      try create(name, entry.path) { mknodat(parent, name, S_IFIFO | 0o600, 0) }
      try finishWithoutContent(entry, name, in: parent)
    }
    if entry.kind != .file { try putInPlace(entry.path, in: parent) }
  }

  package func content(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws {
    guard let file = current else { return }
    var done = 0
    while done < bytes.count {
      done += try check("write \(file.entry.path)") {
        pwrite(
          file.descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done,
          off_t(clamping: offset) + off_t(done))
      }
    }
    current?.end = offset + UInt64(bytes.count)
  }

  package func endEntry() throws {
    guard let file = current else { return }
    current = nil
    defer { close(file.descriptor) }
    let entry = file.entry
    if file.end < entry.size {
      try check("set the size of \(entry.path)") { ftruncate(file.descriptor, off_t(clamping: entry.size)) }
    }
    try finish(entry, open: file.descriptor)
    if isLive { try putInPlace(entry.path, in: try openParent(of: entry.path)) }
  }

  /// Takes something away, if it is there; a directory only where nothing is left in it.
  package func remove(_ path: TreePath) throws {
    try leaveDirectories(for: path)
    guard !path.isRoot else { return }
    let parent: CInt
    do {
      parent = try openDirectory(path.parent)
    } catch let mounted as Mounted {
      throw mounted
    } catch {
      return
    }
    defer { close(parent) }
    let name = Self.terminated(path.name)
    if unlinkat(parent, name, 0) == 0 || errno == ENOENT { return }
    if errno == EBUSY { throw Mounted(path: "/\(path)") }
    guard errno == EISDIR || errno == EPERM else { throw SystemError("remove \(path)") }
    if unlinkat(parent, name, AT_REMOVEDIR) == 0 || [ENOENT, ENOTEMPTY, EEXIST].contains(errno) { return }
    if errno == EBUSY { throw Mounted(path: "/\(path)") }
    throw SystemError("remove \(path)")
  }

  /// Renames what was written beside its place into it.
  private func putInPlace(_ path: TreePath, in parent: CInt) throws {
    guard isLive else { return }
    let name = Self.terminated(path.name)
    defer { unlinkat(parent, Self.temporary, 0) }
    if renameat(parent, Self.temporary, parent, name) == 0 { return }
    if errno == EBUSY { throw Mounted(path: "/\(path)") }
    guard [EISDIR, ENOTEMPTY, EEXIST].contains(errno) else { throw SystemError("put \(path) in its place") }
    // A directory is no longer one.
    for isDone in [false, true] { try removeTree(name, in: parent, path, isDone: isDone) }
    try check("put \(path) in its place") { renameat(parent, Self.temporary, parent, name) }
  }

  /// Removes a directory with all in it, following no link.
  /// - Parameter isDone: Else it is only seen whether it can be: whether nothing is mounted in it.
  private func removeTree(_ name: [CChar], in parent: CInt, _ path: TreePath, isDone: Bool) throws {
    // Not one of those that are open for the next entry.
    let directory = try check("open \(path)") { clinux_open_directory_at(parent, name) }
    if isMount(directory) {
      close(directory)
      throw Mounted(path: "/\(path)")
    }
    guard let listing = fdopendir(directory) else {
      let error = SystemError("read \(path)")
      close(directory)
      throw error
    }
    defer { closedir(listing) }
    while let entry = readdir(listing) {
      let inside = withUnsafeBytes(of: entry.pointee.d_name) { $0.prefix { $0 != 0 }.map { CChar(bitPattern: $0) } }
      if inside == [46] || inside == [46, 46] { continue }
      if isDone {
        if unlinkat(directory, inside + [0], 0) == 0 || errno == ENOENT { continue }
        guard errno == EISDIR || errno == EPERM else { throw SystemError("remove what is in \(path)") }
      } else {
        var status = stat()
        guard fstatat(directory, inside + [0], &status, AT_SYMLINK_NOFOLLOW) == 0, status.st_mode & S_IFMT == S_IFDIR
        else { continue }
      }
      try removeTree(inside + [0], in: directory, path, isDone: isDone)
    }
    guard isDone else { return }
    try check("remove \(path), in whose place comes something else") { unlinkat(parent, name, AT_REMOVEDIR) }
  }

  /// Gives the directories their modes, times and attributes. To be called when the stream has ended.
  package func finish() throws {
    while let entry = directories.popLast() { try finishDirectory(entry) }
  }

  private func finishDirectory(_ entry: TarEntry) throws {
    let descriptor = entry.path.isRoot ? dup(root) : try openDirectory(entry.path)
    defer { close(descriptor) }
    try finish(entry, open: descriptor)
  }

  /// Finishes the directories that a path is not in, and gets ready to give the one it is in its times again where
  /// that was finished before.
  private func leaveDirectories(for path: TreePath) throws {
    while let last = directories.last, !Self.contains(last.path, path) {
      directories.removeLast()
      // What comes again is as it comes then.
      if last.path != path { try finishDirectory(last) }
    }
    // The last component and the slash before it.
    let parentLength = path.bytes.count - path.name.count - 1
    guard parentLength > 0, directories.last?.path.bytes.count != parentLength,
      let descriptor = try? openDirectory(path.parent)
    else { return }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { return }
    directories.append(
      TarEntry(
        path: path.parent, kind: .directory, mode: status.st_mode & 0o7777, userID: status.st_uid,
        groupID: status.st_gid,
        modified: Timestamp(
          seconds: Int64(status.st_mtim.tv_sec), nanoseconds: UInt32(status.st_mtim.tv_nsec))))
  }

  /// Whether `path` is somewhere in a directory.
  private static func contains(_ directory: TreePath, _ path: TreePath) -> Bool {
    if directory.isRoot { return true }
    let count = directory.bytes.count
    return path.bytes.count > count && path.bytes[count] == UInt8(ascii: "/")
      && path.bytes.starts(with: directory.bytes)
  }

  // MARK: - Places

  /// The directory that `path` is in, open as long as the next call leaves it in the path.
  private func openParent(of path: TreePath) throws -> CInt {
    let components = path.components.dropLast()
    var common = 0
    while common < open.count, common < components.count, open[common].name == components[common] { common += 1 }
    while open.count > common { if let last = open.popLast() { close(last.descriptor) } }
    for (depth, name) in components.enumerated().dropFirst(common) {
      let parent = open.last?.descriptor ?? root
      open.append((name, try enter(name, in: parent, path, depth, making: true)))
    }
    return open.last?.descriptor ?? root
  }

  /// Opens a directory by walking from the root.
  private func openDirectory(_ path: TreePath) throws -> CInt {
    var descriptor = try check("open \(label)") { dup(root) }
    for (depth, name) in path.components.enumerated() {
      let parent = descriptor
      defer { close(parent) }
      descriptor = try enter(name, in: parent, path, depth, making: false)
    }
    return descriptor
  }

  /// - Parameter depth: How many components of the path are in front of `name`.
  private func enter(
    _ name: ArraySlice<UInt8>, in parent: CInt, _ path: TreePath, _ depth: Int, making: Bool
  ) throws -> CInt {
    let text = Self.terminated(name)
    let descriptor = clinux_open_directory_at(parent, text)
    if descriptor >= 0 {
      guard isMount(descriptor) else { return descriptor }
      close(descriptor)
      let place = path.components.prefix(depth + 1).map { String(decoding: $0, as: UTF8.self) }
      throw Mounted(path: "/" + place.joined(separator: "/"))
    }
    if making, errno == ENOENT {
      // A stream may leave directories out: they are as mkdir -p makes them.
      try check("make a directory of \(path)") { mkdirat(parent, text, 0o755) }
    }
    return try check("open a directory of \(path) (a symbolic link there is not followed)") {
      clinux_open_directory_at(parent, text)
    }
  }

  /// Directories have the device of what they are in, in an overlay too; and a directory of the tree that is mounted at
  /// another place of it has the same.
  private func isMount(_ directory: CInt) -> Bool {
    var status = stat()
    return isLive
      && (fstat(directory, &status) == 0 && status.st_dev != device || clinux_mount_number(directory) != mount)
  }

  private func makeDirectory(_ name: [CChar], in parent: CInt, _ path: TreePath) throws {
    if mkdirat(parent, name, 0o700) == 0 { return }
    if errno == EEXIST {
      let descriptor = clinux_open_directory_at(parent, name)
      if descriptor >= 0 {
        close(descriptor)
        return
      }
    }
    try create(name, path) { mkdirat(parent, name, 0o700) }
  }

  /// Makes something new; what is there by that name goes first, as with tar.
  @discardableResult
  private func create(_ name: [CChar], _ path: TreePath, _ call: () -> CInt) throws -> CInt {
    let result = call()
    if result >= 0 { return result }
    guard errno == EEXIST else { throw SystemError("make \(path)") }
    let parent = open.last?.descriptor ?? root
    if unlinkat(parent, name, 0) == -1 {
      try check("replace \(path)") { unlinkat(parent, name, AT_REMOVEDIR) }
    }
    return try check("make \(path)") { call() }
  }

  private func link(_ path: TreePath, _ name: [CChar], in parent: CInt, to original: TreePath) throws {
    guard !original.isRoot else { throw SystemError("link \(path) to the root", code: EPERM) }
    let directory = try openDirectory(original.parent)
    defer { close(directory) }
    let originalName = Self.terminated(original.name)
    try create(name, path) { linkat(directory, originalName, parent, name, 0) }
  }

  // MARK: - What an entry has besides its content

  /// Owner before mode and attributes: a change of owner takes set-user-ID and capabilities away.
  private func finish(_ entry: TarEntry, open descriptor: CInt) throws {
    try check("set the owner of \(entry.path)") { fchown(descriptor, entry.userID, entry.groupID) }
    try check("set the mode of \(entry.path)") { fchmod(descriptor, mode_t(entry.mode & 0o7777)) }
    for attribute in entry.extendedAttributes {
      try set(attribute, of: entry) { name, value, length in clinux_set_attribute(descriptor, name, value, length) }
    }
    var times = Self.times(entry)
    try check("set the time of \(entry.path)") { futimens(descriptor, &times) }
  }

  private func finishWithoutContent(_ entry: TarEntry, _ name: [CChar], in parent: CInt) throws {
    try check("set the owner of \(entry.path)") {
      fchownat(parent, name, entry.userID, entry.groupID, AT_SYMLINK_NOFOLLOW)
    }
    if case .symbolicLink = entry.kind {
    } else {
      // Made a moment ago in a directory that nobody else writes to: no link can be in its place.
      try check("set the mode of \(entry.path)") { fchmodat(parent, name, mode_t(entry.mode & 0o7777), 0) }
    }
    if !entry.extendedAttributes.isEmpty {
      let path = Self.terminated(Array("/proc/self/fd/\(parent)/".utf8)[...]).dropLast() + name
      for attribute in entry.extendedAttributes {
        try set(attribute, of: entry) { name, value, length in
          clinux_set_attribute_of_link(path, name, value, length)
        }
      }
    }
    var times = Self.times(entry)
    try check("set the time of \(entry.path)") { utimensat(parent, name, &times, AT_SYMLINK_NOFOLLOW) }
  }

  private func set(
    _ attribute: ExtendedAttribute, of entry: TarEntry,
    _ call: ([CChar], UnsafeRawPointer?, UInt64) -> CInt
  ) throws {
    let name = Self.terminated(attribute.name[...])
    let result = attribute.value.withUnsafeBytes { call(name, $0.baseAddress, UInt64($0.count)) }
    if result == 0 { return }
    let text = String(decoding: attribute.name, as: UTF8.self)
    // EPERM: user attributes of anything but files and directories (xattr(7)).
    guard errno == EOPNOTSUPP || errno == EPERM && text.hasPrefix("user.") else {
      throw SystemError("set the attribute \(text) of \(entry.path)")
    }
    refusedAttributes[text, default: 0] += 1
  }

  private static func times(_ entry: TarEntry) -> [timespec] {
    let time = timespec(tv_sec: Int(entry.modified.seconds), tv_nsec: Int(entry.modified.nanoseconds))
    return [time, time]
  }

  private static func terminated(_ bytes: ArraySlice<UInt8>) -> [CChar] {
    bytes.map { CChar(bitPattern: $0) } + [0]
  }
}
