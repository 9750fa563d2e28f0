/// The path of something in a tree, relative to the tree's root: raw bytes, as Linux has them.
///
/// No leading or trailing `/`, no empty component, no `.` and no `..`; the root itself is the empty path.
/// Ordered so that a directory comes right before all that is in it.
package struct TreePath: Hashable, Sendable {
  package let bytes: [UInt8]

  package static let root = TreePath(trusted: [])

  /// The longest path and the longest component, in bytes (PATH_MAX less its NUL, NAME_MAX).
  package static let lengthLimit = 4095
  package static let componentLimit = 255

  private init(trusted bytes: [UInt8]) {
    self.bytes = bytes
  }

  /// Takes a path out of an archive: `./a//b/` becomes `a/b`.
  ///
  /// - Throws: `TarError.unsafePath` for an absolute path, a `..` or a NUL; `TarError.pathTooLong`.
  package init(parsing raw: some Collection<UInt8>) throws(TarError) {
    func unsafe(_ reason: String) -> TarError {
      .unsafePath(String(decoding: raw.prefix(256), as: UTF8.self), reason: reason)
    }
    guard raw.first != UInt8(ascii: "/") else { throw unsafe("it is absolute") }
    guard raw.count <= Self.lengthLimit else { throw .pathTooLong(bytes: raw.count) }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(raw.count)
    var component: [UInt8] = []
    func finish() throws(TarError) {
      defer { component.removeAll(keepingCapacity: true) }
      if component.isEmpty || component == [UInt8(ascii: ".")] { return }
      guard component != [UInt8(ascii: "."), UInt8(ascii: ".")] else { throw unsafe("it has a '..'") }
      guard component.count <= Self.componentLimit else { throw .pathTooLong(bytes: component.count) }
      if !bytes.isEmpty { bytes.append(UInt8(ascii: "/")) }
      bytes += component
    }
    for byte in raw {
      if byte == 0 { throw unsafe("it has a NUL byte") }
      if byte == UInt8(ascii: "/") {
        try finish()
      } else {
        component.append(byte)
      }
    }
    try finish()
    self.bytes = bytes
  }

  /// A path known to be well formed, such as a constant; `nil` for one that is not.
  package init?(_ text: String) {
    guard let path = try? TreePath(parsing: text.utf8) else { return nil }
    self = path
  }

  package var isRoot: Bool { bytes.isEmpty }

  /// All bytes at once: trees are tables of paths.
  package func hash(into hasher: inout Hasher) {
    bytes.withUnsafeBytes { hasher.combine(bytes: $0) }
  }

  /// The directory it is in; the root's is the root.
  package var parent: TreePath {
    guard let slash = bytes.lastIndex(of: UInt8(ascii: "/")) else { return .root }
    return TreePath(trusted: Array(bytes[..<slash]))
  }

  /// The last component.
  package var name: ArraySlice<UInt8> {
    guard let slash = bytes.lastIndex(of: UInt8(ascii: "/")) else { return bytes[...] }
    return bytes[(slash + 1)...]
  }

  package var components: [ArraySlice<UInt8>] { bytes.split(separator: UInt8(ascii: "/")) }

  /// The path of `name` in this directory. `name` is one component, as readdir gives it.
  package func appending(name: some Collection<UInt8>) throws(TarError) -> TreePath {
    try TreePath(parsing: bytes + [UInt8(ascii: "/")].dropFirst(isRoot ? 1 : 0) + Array(name))
  }

  /// Calls `body` with the path as a C string; the root is `.`.
  package func withCString<Result, Failure: Error>(
    _ body: (UnsafePointer<CChar>) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let terminated = (isRoot ? [UInt8(ascii: ".")] : bytes).map { CChar(bitPattern: $0) } + [0]
    return try terminated.withUnsafeBufferPointer { (buffer) throws(Failure) -> Result in
      guard let base = buffer.baseAddress else { preconditionFailure("a terminated string has a first byte") }
      return try body(base)
    }
  }
}

extension TreePath: Comparable {
  /// Component by component, each bytewise: as if `/` came before every other byte. So all that is in a
  /// directory follows it at once, and unpacking programs set the directory's times when they are through with it.
  package static func < (left: TreePath, right: TreePath) -> Bool {
    left.bytes.withUnsafeBufferPointer { leftBytes in
      right.bytes.withUnsafeBufferPointer { rightBytes in
        let common = min(leftBytes.count, rightBytes.count)
        var index = 0
        while index < common, leftBytes[index] == rightBytes[index] { index += 1 }
        guard index < common else { return leftBytes.count < rightBytes.count }
        if leftBytes[index] == UInt8(ascii: "/") { return true }
        if rightBytes[index] == UInt8(ascii: "/") { return false }
        return leftBytes[index] < rightBytes[index]
      }
    }
  }
}

extension TreePath: CustomStringConvertible {
  /// For people: bytes that are no UTF-8 are replaced.
  package var description: String { isRoot ? "." : String(decoding: bytes, as: UTF8.self) }
}
