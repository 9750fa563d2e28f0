import CLinux
import Glibc

/// Puts a plan's files into the node's root.
package struct FilePlacer {
  package struct File: Hashable, Sendable {
    /// Absolute, in the root.
    package var path: String
    package var content: [UInt8]
    package var mode: UInt32
    /// By name, as the root's own accounts are, or by number.
    package var owner: String
    package var group: String

    package init(path: String, content: [UInt8], mode: UInt32, owner: String, group: String) {
      self.path = path
      self.content = content
      self.mode = mode
      self.owner = owner
      self.group = group
    }
  }

  package enum Change: Hashable, Sendable {
    case none
    case replaced
  }

  private let tree: RootedPath

  package init(root: String) {
    tree = RootedPath(root)
  }

  /// Replaces the file as a whole, with its owner and mode from the first moment on; one that is there as it should be
  /// stays untouched. Symbolic links above it are followed inside the root; one in its own place is replaced.
  /// - Throws: `SystemError`, `UnknownAccount`.
  package func place(_ file: File) throws -> Change {
    let user = try identifier(file.owner, in: "/etc/passwd")
    let group = try identifier(file.group, in: "/etc/group")
    guard let slash = file.path.lastIndex(of: "/") else { return .none }
    let parent = try tree.resolve(String(file.path[..<slash]))
    let place = parent + file.path[slash...]
    let label = SecurityLabel.expected(at: place)
    try tree.makeDirectory(of: place, label: label)
    if isThere(file, at: place, user, group) { return .none }
    let new = place + ".perseid-new"
    unlink(new)
    do {
      // Nobody else can open it before it is whose it is to be.
      let output = try OpenFile(new, flags: O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600)
      try output.write(file.content, count: file.content.count, to: new)
      try check("give \(place) to \(file.owner):\(file.group)") { fchown(output.descriptor, user, group) }
      try check("set the mode of \(place)") { fchmod(output.descriptor, file.mode) }
      SecurityLabel.set(label, on: new)
      try check("put \(place) in its place") { rename(new, place) }
    } catch {
      unlink(new)
      throw error
    }
    return .replaced
  }

  private func isThere(_ file: File, at place: String, _ user: uid_t, _ group: gid_t) -> Bool {
    var status = stat()
    guard lstat(place, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_mode & 0o7777 == file.mode,
      status.st_uid == user, status.st_gid == group, Int(status.st_size) == file.content.count,
      let there = try? SmallFile.read(place, limit: file.content.count)
    else { return false }
    return there == file.content
  }

  /// The number of an account of the root's own: the third field of its line. Root is 0 in a root without accounts too.
  private func identifier(_ name: String, in list: String) throws -> UInt32 {
    if let number = UInt32(name) { return number }
    if name == "root" { return 0 }
    let text = (try? tree.resolve(list)).flatMap { try? SmallFile.read($0) } ?? []
    for line in text.split(separator: UInt8(ascii: "\n")) {
      let fields = line.split(separator: UInt8(ascii: ":"), maxSplits: 3, omittingEmptySubsequences: false)
      guard fields.count >= 3, fields[0].elementsEqual(name.utf8) else { continue }
      if let number = UInt32(String(decoding: fields[2], as: UTF8.self)) { return number }
    }
    throw UnknownAccount(name: name, list: list)
  }
}

/// A file is to be somebody's whom the node does not know.
package struct UnknownAccount: Error, Hashable, Sendable, CustomStringConvertible {
  package var name: String
  package var list: String

  package var description: String {
    "the node's \(list) has no '\(name)': install the package that makes it, or give the file another owner"
  }
}
