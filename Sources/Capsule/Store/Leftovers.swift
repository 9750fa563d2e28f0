#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What a killed process left in the temporary directory. Everything there is locked by its writer:
/// what can be locked has no writer any more.
enum Leftovers {
  /// Between the making of a file and its lock lies less than this, in seconds.
  private static let age = 60

  static func remove(in directory: String) {
    for name in names(in: directory) where name.hasPrefix("blob-") || name.hasPrefix("build-") {
      let path = "\(directory)/\(name)"
      guard let file = FileDescriptor.open(path, O_RDONLY | O_NOFOLLOW) else { continue }
      var status = stat()
      guard fstat(file.number, &status) == 0, time(nil) - status.st_mtim.tv_sec > age,
        flock(file.number, LOCK_EX | LOCK_NB) == 0
      else { continue }
      removeTree(path)
    }
  }

  /// Removes a file, or a directory with all that is in it, whatever the names are; never follows a link.
  static func removeTree(_ path: String) {
    removeTree(path.utf8CString.map { $0 }, in: AT_FDCWD)
  }

  /// - Parameter name: Ends with NUL.
  private static func removeTree(_ name: [CChar], in parent: Int32) {
    if unlinkat(parent, name, 0) == 0 { return }
    let number = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    guard number >= 0 else { return }
    guard let directory = fdopendir(number) else {
      close(number)
      return
    }
    defer { closedir(directory) }
    var names: [[CChar]] = []
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { raw in
        raw.prefix { $0 != 0 }.map { CChar(bitPattern: $0) }
      }
      if name != [46] && name != [46, 46] { names.append(name + [0]) }
    }
    for name in names { removeTree(name, in: number) }
    unlinkat(parent, name, AT_REMOVEDIR)
  }

  static func names(in path: String) -> [String] {
    guard let directory = opendir(path) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { raw in
        String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names
  }
}

/// A directory for one build's scratch files, removed with all that is in it when let go of.
final class ScratchDirectory: Sendable {
  let path: String
  private let lock: FileDescriptor

  init(in directory: String) throws(CapsuleError) {
    let path = "\(directory)/build-\(getpid())-\(UInt64.random(in: 0...UInt64.max))"
    guard mkdir(path, 0o700) == 0, let lock = FileDescriptor.open(path, O_RDONLY | O_DIRECTORY) else {
      throw .writing(path, errno: errno)
    }
    _ = flock(lock.number, LOCK_EX | LOCK_NB)
    self.path = path
    self.lock = lock
  }

  /// Writes a new file, making the directories it is in.
  ///
  /// - Parameter path: Below this directory's path.
  func write(_ bytes: [UInt8], to path: String) throws(CapsuleError) {
    var parent = self.path
    for component in path.dropFirst(parent.count).split(separator: "/").dropLast() {
      parent += "/" + component
      guard mkdir(parent, 0o755) == 0 || errno == EEXIST else { throw .writing(parent, errno: errno) }
    }
    guard let file = FileDescriptor.open(path, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600),
      bytes.withUnsafeBytes({ file.writeAll($0) })
    else { throw .writing(path, errno: errno) }
  }

  deinit {
    Leftovers.removeTree(path)
  }
}
