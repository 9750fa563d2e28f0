/// A kernel module's name, in which `-` and `_` are the same.
package struct ModuleName: Hashable, Sendable, Comparable, CustomStringConvertible {
  package let description: String

  package init(_ text: String) {
    self.init(bytes: text.utf8)
  }

  /// The name in a file's path: `kernel/drivers/net/e1000e/e1000e.ko`, `.ko.xz` and the like too.
  package init(path: some BidirectionalCollection<UInt8>) {
    let file = path[(path.lastIndex(of: UInt8(ascii: "/")).map { path.index(after: $0) } ?? path.startIndex)...]
    self.init(bytes: file.prefix { $0 != UInt8(ascii: ".") })
  }

  /// Bytes, not characters: there are thousands of names to read before the first packet.
  package init(bytes: some Collection<UInt8>) {
    description = String(decoding: bytes.map { $0 == UInt8(ascii: "-") ? UInt8(ascii: "_") : $0 }, as: UTF8.self)
  }

  package static func < (left: ModuleName, right: ModuleName) -> Bool { left.description < right.description }
}
