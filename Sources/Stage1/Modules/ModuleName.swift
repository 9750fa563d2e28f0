/// A kernel module's name, in which `-` and `_` are the same.
package struct ModuleName: Hashable, Sendable, Comparable, CustomStringConvertible {
  package let description: String

  package init(_ text: String) {
    description = String(text.map { $0 == "-" ? "_" : $0 })
  }

  /// The name in a file's path: `kernel/drivers/net/e1000e/e1000e.ko`.
  package init(path: some StringProtocol) {
    let file = String(path.split(separator: Character("/")).last ?? "")
    let end = file.range(ofSuffixFrom: ".ko") ?? file.endIndex
    self.init(String(file[..<end]))
  }

  package static func < (left: ModuleName, right: ModuleName) -> Bool { left.description < right.description }
}

extension String {
  /// Where `.ko`, `.ko.xz` and the like begin.
  fileprivate func range(ofSuffixFrom mark: String) -> String.Index? {
    var index = endIndex
    while index > startIndex {
      index = self.index(before: index)
      if self[index...].hasPrefix(mark) { return index }
    }
    return nil
  }
}
