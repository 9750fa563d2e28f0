import CLinux
import CapsuleFormat

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Reads a directory of the host into a tree. What is mounted below it is left out but for the mount points.
struct DirectoryScanner {
  private let source: TreeSource
  private var builder = TreeBuilder()
  /// Files with several names, by device and inode.
  private var linked: [Inode: TreeBuilder.NodeNumber] = [:]
  private var device: dev_t = 0
  private var contentBytes: UInt64 = 0
  private let progress: ProgressHandler

  private struct Inode: Hashable {
    var device: dev_t
    var number: ino_t
  }

  /// - Parameter title: What a scratch directory is made of, for people: `the recipe compute.yaml`.
  static func scan(
    _ directory: String, title: String? = nil, progress: @escaping ProgressHandler
  ) throws -> FileTree {
    let trimmed = directory.count > 1 && directory.hasSuffix("/") ? String(directory.dropLast()) : directory
    let source = TreeSource(directory: trimmed, title: title)
    do {
      return try scanned(source, progress: progress)
    } catch let error as TarError {
      throw CapsuleError(
        .badSource, "The \(source.words) cannot be imported: \(error)",
        remedy: "Take that out of it, and import it again")
    }
  }

  private static func scanned(_ source: TreeSource, progress: @escaping ProgressHandler) throws -> FileTree {
    var scanner = DirectoryScanner(source: source, progress: progress)
    var status = stat()
    // The source itself may be named by a link; nothing below is followed.
    guard stat(scanner.source.hostPath(.root), &status) == 0 else { throw scanner.failure(.root) }
    scanner.device = status.st_dev
    try scanner.add(.root, status)
    var pending: [TreePath] = [.root]
    var count = 0
    while let path = pending.popLast() {
      for name in try scanner.names(in: path) {
        count += 1
        if count.isMultiple(of: 1024) {
          try Task.checkCancellation()
          progress(
            BuildProgress(phase: .reading, completedBytes: Int64(clamping: scanner.contentBytes), totalBytes: nil))
        }
        let child = try path.appending(name: name)
        guard lstat(scanner.source.hostPath(child), &status) == 0 else { throw scanner.failure(child) }
        try scanner.add(child, status)
        guard status.st_mode & S_IFMT == S_IFDIR else { continue }
        if status.st_dev == scanner.device { pending.append(child) }
      }
    }
    return scanner.builder.finish(source: scanner.source)
  }

  private init(source: TreeSource, progress: @escaping ProgressHandler) {
    self.source = source
    self.progress = progress
  }

  private func failure(_ path: TreePath) -> CapsuleError { .reading(source.words(of: path), errno: errno) }

  private func names(in path: TreePath) throws(CapsuleError) -> [[UInt8]] {
    guard let directory = opendir(source.hostPath(path)) else { throw failure(path) }
    defer { closedir(directory) }
    var names: [[UInt8]] = []
    errno = 0
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { raw in Array(raw.prefix { $0 != 0 }) }
      if name != Array(".".utf8) && name != Array("..".utf8) { names.append(name) }
      errno = 0
    }
    guard errno == 0 else { throw failure(path) }
    return names
  }

  private mutating func add(_ path: TreePath, _ status: stat) throws {
    var entry = TarEntry(
      path: path, kind: .file, mode: UInt32(status.st_mode) & 0o7777, userID: status.st_uid, groupID: status.st_gid,
      modified: Timestamp(
        seconds: Int64(status.st_mtim.tv_sec), nanoseconds: UInt32(clamping: status.st_mtim.tv_nsec)))
    var content = FileTree.Content.none
    switch status.st_mode & S_IFMT {
    case S_IFREG:
      entry.size = UInt64(clamping: status.st_size)
      content = .file(FileTree.Identity(status))
    case S_IFDIR: entry.kind = .directory
    case S_IFLNK: entry.kind = .symbolicLink(target: try linkTarget(path, size: Int(status.st_size)))
    case S_IFCHR:
      entry.kind = .characterDevice(
        major: clinux_device_major(UInt64(status.st_rdev)), minor: clinux_device_minor(UInt64(status.st_rdev)))
    case S_IFBLK:
      entry.kind = .blockDevice(
        major: clinux_device_major(UInt64(status.st_rdev)), minor: clinux_device_minor(UInt64(status.st_rdev)))
    case S_IFIFO: entry.kind = .fifo
    // A socket means nothing without the process that made it.
    default: return
    }
    let inode = Inode(device: status.st_dev, number: status.st_ino)
    let isLinked = status.st_nlink > 1 && entry.kind != .directory
    if isLinked, let first = linked[inode] {
      try builder.addLink(path, to: first)
      return
    }
    contentBytes += entry.size
    entry.extendedAttributes = try attributes(path)
    let number = try builder.add(entry, content: content)
    if isLinked { linked[inode] = number }
  }

  private func linkTarget(_ path: TreePath, size: Int) throws(CapsuleError) -> [UInt8] {
    var buffer = [CChar](repeating: 0, count: 4096)
    let length = readlink(source.hostPath(path), &buffer, buffer.count)
    guard length > 0 else { throw failure(path) }
    return buffer.prefix(length).map { UInt8(bitPattern: $0) }
  }

  private func attributes(_ path: TreePath) throws(CapsuleError) -> [ExtendedAttribute] {
    let hostPath = source.hostPath(path)
    let size = clinux_list_attributes(hostPath, nil, 0)
    if size == 0 || (size < 0 && errno == ENOTSUP) { return [] }
    guard size > 0 else { throw failure(path) }
    var list = [CChar](repeating: 0, count: size + 1024)
    let length = clinux_list_attributes(hostPath, &list, list.count)
    guard length >= 0 else { throw failure(path) }
    var attributes: [ExtendedAttribute] = []
    for name in list.prefix(length).split(separator: 0) {
      // XATTR_SIZE_MAX is 64 KiB.
      var value = [UInt8](repeating: 0, count: 65536)
      let count = clinux_get_attribute(hostPath, Array(name) + [0], &value, value.count)
      if count < 0 && errno == ENODATA { continue }
      guard count >= 0 else { throw failure(path) }
      attributes.append(
        ExtendedAttribute(name: name.map { UInt8(bitPattern: $0) }, value: Array(value.prefix(count))))
    }
    return attributes.sorted { $0.name.lexicographicallyPrecedes($1.name) }
  }
}

extension FileTree.Identity {
  fileprivate init(_ status: stat) {
    self.init(
      device: Int64(truncatingIfNeeded: status.st_dev), inode: Int64(truncatingIfNeeded: status.st_ino),
      size: Int64(status.st_size), modifiedSeconds: Int64(status.st_mtim.tv_sec),
      modifiedNanoseconds: Int64(status.st_mtim.tv_nsec), changedSeconds: Int64(status.st_ctim.tv_sec),
      changedNanoseconds: Int64(status.st_ctim.tv_nsec))
  }
}
