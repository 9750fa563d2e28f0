import CLinux
package import Glibc

/// A tree that may be strange, addressed from its root: a symbolic link in it means a place in it, as
/// it will when it is the root.
package struct RootedPath {
  /// The tree's directory.
  package let root: String

  package init(_ root: String) {
    self.root = root == "/" ? "" : root
  }

  /// Where `path` really is: every symbolic link followed inside the tree. The last component need not
  /// exist.
  /// - Returns: A path outside the tree's view, beginning with `root`.
  package func resolve(_ path: String) throws(SystemError) -> String {
    var resolved: [Substring] = []
    var rest = Array(path.split(separator: "/").reversed())
    var links = 0
    while let name = rest.popLast() {
      if name == "." { continue }
      if name == ".." {
        _ = resolved.popLast()
        continue
      }
      let here = root + "/" + (resolved + [name]).joined(separator: "/")
      var target = [UInt8](repeating: 0, count: 4096)
      let length = target.withUnsafeMutableBytes { buffer in
        buffer.bindMemory(to: CChar.self).baseAddress.map { readlink(here, $0, 4096) } ?? -1
      }
      if length < 0 {
        resolved.append(name)
        continue
      }
      links += 1
      guard links <= 40 else { throw SystemError("follow \(path) in \(root)", code: ELOOP) }
      let text = String(decoding: target[..<length], as: UTF8.self)
      if text.hasPrefix("/") { resolved = [] }
      rest += text.split(separator: "/").reversed()
    }
    return root + "/" + resolved.joined(separator: "/")
  }

  /// Whether something is there, links followed inside the tree.
  package func exists(_ path: String) -> Bool {
    guard let place = try? resolve(path) else { return false }
    return SmallFile.exists(place)
  }

  /// Whether there is an entry of that name, if only a link to nowhere.
  package func hasEntry(_ path: String) -> Bool {
    guard let slash = path.lastIndex(of: "/"), let parent = try? resolve(String(path[..<slash])) else { return false }
    var status = stat()
    return lstat(parent + path[slash...], &status) == 0
  }

  /// Puts a file there, with the directories above it, labelled as what was there.
  package func replace(_ path: String, with bytes: [UInt8], mode: mode_t) throws(SystemError) {
    let place = try resolve(path)
    let label = SecurityLabel.expected(at: place)
    try makeDirectory(of: place, label: label)
    try SmallFile.write(place, bytes, mode: mode)
    SecurityLabel.set(label, on: place)
  }

  /// Makes the directories above a resolved place, each with the label that is given.
  package func makeDirectory(of place: String, label: [UInt8]?) throws(SystemError) {
    guard let slash = place.lastIndex(of: "/"), slash != place.startIndex else { return }
    let directory = String(place[..<slash])
    if SmallFile.exists(directory) { return }
    try makeDirectory(of: directory, label: label)
    try SmallFile.makeDirectories(directory)
    SecurityLabel.set(label, on: directory)
  }

  /// Puts a symbolic link there, in place of one that is there.
  package func link(_ path: String, to target: String) throws(SystemError) {
    guard let slash = path.lastIndex(of: "/") else { return }
    let parent = try resolve(String(path[..<slash]))
    try SmallFile.makeDirectories(parent)
    let place = parent + path[slash...]
    unlink(place)
    try check("link \(place)") { symlink(target, place) }
  }
}
