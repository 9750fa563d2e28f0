import Glibc
import Synchronization

/// Small files that every plan needs: read once, and again when the file is another than it was.
package final class FileCache: Sendable {
  /// Which file it is, and in which version: a file that is written anew has another.
  private struct Identity: Hashable {
    var device: dev_t
    var inode: ino_t
    var size: off_t
    var modified: Int
    var changed: Int

    init(_ status: stat) {
      device = status.st_dev
      inode = status.st_ino
      size = status.st_size
      modified = status.st_mtim.tv_sec &* 1_000_000_000 &+ status.st_mtim.tv_nsec
      changed = status.st_ctim.tv_sec &* 1_000_000_000 &+ status.st_ctim.tv_nsec
    }
  }

  package enum Failure: Error, Hashable {
    case missing
    case notRegular
    case tooLarge(Int)
    case unreadable(errno: Int32)
  }

  private static let countLimit = 4096
  private let files = Mutex<[String: (identity: Identity, bytes: [UInt8])]>([:])

  package init() {}

  /// - Parameter limit: Bytes.
  package func read(_ path: String, limit: Int) throws(Failure) -> [UInt8] {
    var status = stat()
    guard stat(path, &status) == 0 else { throw errno == ENOENT ? .missing : .unreadable(errno: errno) }
    guard status.st_mode & S_IFMT == S_IFREG else { throw .notRegular }
    guard status.st_size <= limit else { throw .tooLarge(Int(status.st_size)) }
    let identity = Identity(status)
    let known = files.withLock { files in files[path].flatMap { $0.identity == identity ? $0.bytes : nil } }
    if let known { return known }
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw errno == ENOENT ? .missing : .unreadable(errno: errno) }
    defer { close(descriptor) }
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { throw .notRegular }
    let before = Identity(status)
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    while true {
      let count = Glibc.read(descriptor, &buffer, buffer.count)
      if count == 0 { break }
      if count < 0 {
        if errno == EINTR { continue }
        throw .unreadable(errno: errno)
      }
      bytes += buffer[..<count]
      guard bytes.count <= limit else { throw .tooLarge(bytes.count) }
    }
    // A file that is being written is read again by the next plan.
    if fstat(descriptor, &status) == 0, Identity(status) == before {
      let content = bytes
      files.withLock { files in
        if files.count >= Self.countLimit { files.removeAll() }
        files[path] = (before, content)
      }
    }
    return bytes
  }
}
