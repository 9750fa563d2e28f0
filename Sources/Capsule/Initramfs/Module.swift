import CapsuleFormat

/// The names of kernel modules.
enum Module {
  /// `.ko`, `.ko.xz`, `.ko.zst` or `.ko.gz`; `nil` for what is no module.
  static func suffix(of path: some BidirectionalCollection<UInt8>) -> String? {
    [".ko", ".ko.xz", ".ko.zst", ".ko.gz"].first { path.suffix($0.utf8.count).elementsEqual($0.utf8) }
  }

  /// A path as it is in the initramfs: uncompressed.
  static func uncompressedPath(_ path: String) -> String {
    guard let suffix = suffix(of: Array(path.utf8)) else { return path }
    return path.dropLast(suffix.count) + ".ko"
  }

  /// The name a module is asked for by: `kernel/fs/nls/nls_iso8859-1.ko.xz` is `nls_iso8859_1`.
  static func name(ofPath path: some StringProtocol) -> String {
    let file = path.lastIndex(of: "/").map { String(path[path.index(after: $0)...]) } ?? String(path)
    return normalized(file.dropLast(suffix(of: Array(file.utf8))?.count ?? 0))
  }

  /// Modules are the same whether written with `-` or `_`.
  static func normalized(_ name: some StringProtocol) -> String {
    String(name.map { $0 == "-" ? "_" : $0 })
  }
}
