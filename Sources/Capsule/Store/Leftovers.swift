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

  /// Removes a file, or a directory with all that is in it; never follows a link.
  static func removeTree(_ path: String) {
    if unlink(path) == 0 { return }
    for name in names(in: path) { removeTree("\(path)/\(name)") }
    rmdir(path)
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
