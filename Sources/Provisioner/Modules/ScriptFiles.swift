import Glibc
import Synchronization

/// Reads files of the nodescript tree, and keeps what has not changed since: a plan costs one look at each file.
final class ScriptFiles: Sendable {
  /// What changes when a file is changed, or another one takes its place.
  private struct Stamp: Hashable {
    var device: UInt64
    var inode: UInt64
    var size: Int64
    var modified: [Int]
    var changed: [Int]
    var kind: mode_t

    /// - Returns: `nil` where there is nothing.
    init?(_ path: String) {
      var status = stat()
      guard stat(path, &status) == 0 else { return nil }
      self.init(status)
    }

    init(_ status: stat) {
      device = UInt64(status.st_dev)
      inode = UInt64(status.st_ino)
      size = Int64(status.st_size)
      modified = [status.st_mtim.tv_sec, status.st_mtim.tv_nsec]
      changed = [status.st_ctim.tv_sec, status.st_ctim.tv_nsec]
      kind = status.st_mode & S_IFMT
    }

    /// Whether it was changed before so many seconds.
    func isOlder(than seconds: Int) -> Bool {
      var now = timespec()
      clock_gettime(CLOCK_REALTIME, &now)
      return now.tv_sec - changed[0] > seconds
    }
  }

  private struct Kept {
    var lists: [String: (stamp: Stamp, names: [String])] = [:]
    var files: [String: (stamp: Stamp, content: [UInt8])] = [:]
    var bytes = 0
  }

  private static let countLimit = 8192
  private static let bytesLimit = 32 << 20

  private let kept = Mutex(Kept())
  private let settleSeconds: Int

  /// - Parameter settleSeconds: Clocks of file systems tick slowly: what was changed just now may change again without
  ///   showing it, and is kept only when this has passed.
  init(settleSeconds: Int = 2) {
    self.settleSeconds = settleSeconds
  }

  /// Paths of the regular files in a directory, also behind symbolic links, in the order of their names.
  func regularFiles(in directory: String) -> [String] {
    guard let stamp = Stamp(directory), stamp.kind == S_IFDIR else { return [] }
    let known = kept.withLock { $0.lists[directory] }
    let names: [String]
    if let known, known.stamp == stamp {
      names = known.names
    } else {
      names = Self.list(directory)
      if stamp.isOlder(than: settleSeconds) {
        kept.withLock { kept in
          if kept.lists.count >= Self.countLimit { kept.lists = [:] }
          kept.lists[directory] = (stamp, names)
        }
      }
    }
    return names.map { "\(directory)/\($0)" }.filter { path in
      var status = stat()
      return stat(path, &status) == 0 && status.st_mode & S_IFMT != S_IFDIR
    }
  }

  private static func list(_ directory: String) -> [String] {
    guard let stream = opendir(directory) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
        pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  /// The bytes of a file.
  /// - Throws: `ApplianceError` where it is no regular file, is too large or cannot be read.
  func read(_ path: String, limit: Int) throws -> [UInt8] {
    if let stamp = Stamp(path), let known = kept.withLock({ $0.files[path] }), known.stamp == stamp {
      return known.content
    }
    // Without waiting for whoever writes into a pipe.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
      throw ApplianceError(.failed, "The nodescript \(path) cannot be read. Check its permissions.")
    }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      throw ApplianceError(.failed, "The nodescript \(path) is no regular file. Remove it.")
    }
    let stamp = Stamp(status)
    var content: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: min(max(Int(status.st_size), 1), limit) + 1)
    while true {
      let count = Glibc.read(descriptor, &buffer, buffer.count)
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else {
        throw ApplianceError(.failed, "The nodescript \(path) cannot be read: \(String(cString: strerror(errno))).")
      }
      if count == 0 { break }
      content += buffer[..<count]
      guard content.count <= limit else {
        throw ApplianceError(
          .refused, "The nodescript \(path) has more than \(limit) bytes, which is the most that are delivered.")
      }
    }
    if stamp.isOlder(than: settleSeconds), content.count == stamp.size {
      kept.withLock { kept in
        if kept.files.count >= Self.countLimit || kept.bytes > Self.bytesLimit {
          kept.files = [:]
          kept.bytes = 0
        }
        let old = kept.files.updateValue((stamp, content), forKey: path)
        kept.bytes += content.count - (old?.content.count ?? 0)
      }
    }
    return content
  }
}
