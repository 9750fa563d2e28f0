/// Writes a cpio image in the kernel's form, "newc" (Linux, Documentation/driver-api/early-userspace/buffer-format).
///
/// Deterministic: entries stand as they are added, belong to root, have time 0 and numbers counted from 1.
package struct CPIOWriter {
  /// What has been written so far.
  package private(set) var bytes: [UInt8] = []
  private var inode: UInt32 = 0
  private var directories: Set<String> = []

  package init() {}

  /// Adds a directory and, before it, the directories it is in; once each.
  package mutating func addDirectory(_ path: String) {
    var parent = ""
    for component in path.split(separator: "/") {
      parent += (parent.isEmpty ? "" : "/") + component
      if directories.insert(parent).inserted { add(parent, mode: 0o040755, content: []) }
    }
  }

  /// Adds a file, and the directories it is in.
  ///
  /// - Parameter alignment: A power of two from 4 on; its content begins at a multiple of that many bytes, by NULs behind
  ///   the name. (What reads an image ends a name at its first NUL.)
  package mutating func addFile(_ path: String, mode: UInt32 = 0o644, content: [UInt8], alignment: Int = 4) {
    addParents(of: path)
    add(path, mode: 0o100000 | (mode & 0o7777), content: content, alignment: alignment)
  }

  /// Adds a symbolic link, and the directories it is in.
  package mutating func addSymbolicLink(_ path: String, target: String) {
    addParents(of: path)
    add(path, mode: 0o120777, content: Array(target.utf8))
  }

  /// Adds a character device, and the directories it is in.
  package mutating func addCharacterDevice(_ path: String, mode: UInt32, major: UInt32, minor: UInt32) {
    addParents(of: path)
    add(path, mode: 0o020000 | (mode & 0o7777), content: [], major: major, minor: minor)
  }

  /// The whole image, with its trailer; a multiple of 4 bytes.
  package consuming func finish() -> [UInt8] {
    inode = 0
    add("TRAILER!!!", mode: 0, content: [], links: 1, isTrailer: true)
    return bytes
  }

  private mutating func addParents(of path: String) {
    guard let slash = path.lastIndex(of: "/") else { return }
    addDirectory(String(path[..<slash]))
  }

  private mutating func add(
    _ path: String, mode: UInt32, content: [UInt8], major: UInt32 = 0, minor: UInt32 = 0, links: UInt32 = 1,
    isTrailer: Bool = false, alignment: Int = 4
  ) {
    if !isTrailer { inode += 1 }
    var name = Array(path.utf8) + [0]
    // Behind the header's 110 bytes and the name the format itself fills up to a multiple of 4.
    while alignment > 4, !((bytes.count + 110 + name.count + 3) / 4 * 4).isMultiple(of: alignment) { name.append(0) }
    // 32-bit sizes are the format's limit; a module or a busybox never comes near it.
    precondition(content.count <= UInt32.max)
    bytes += Array("070701".utf8)
    // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
    let fields: [UInt32] = [
      inode, mode, 0, 0, links, 0, UInt32(content.count), 0, 0, major, minor, UInt32(name.count), 0,
    ]
    for field in fields { append(hexadecimal: field) }
    bytes += name
    pad()
    bytes += content
    pad()
  }

  private mutating func append(hexadecimal value: UInt32) {
    let digits = String(value, radix: 16).utf8
    bytes.append(contentsOf: repeatElement(UInt8(ascii: "0"), count: 8 - digits.count))
    bytes += digits
  }

  private mutating func pad() {
    while !bytes.count.isMultiple(of: 4) { bytes.append(0) }
  }
}

/// Brings a compressed image to a multiple of 4 bytes with zeros, so that another can stand behind it:
/// the kernel looks for the next one at such offsets.
package func paddedToFour(_ image: [UInt8]) -> [UInt8] {
  image + [UInt8](repeating: 0, count: (4 - image.count % 4) % 4)
}
