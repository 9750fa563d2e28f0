/// What is wrong with a tar stream, or with an entry that is to be written to one.
package enum TarError: Error, Hashable, CustomStringConvertible {
  /// The stream ends in the middle of an entry, or without its end mark.
  case truncated(at: UInt64)
  /// A block that should be a header has a wrong checksum.
  case badChecksum(at: UInt64)
  /// A number, a record or a map that cannot be read.
  case malformed(String, at: UInt64)
  case unsupportedKind(UInt8, path: String)
  /// Absolute, with `..`, or with a NUL.
  case unsafePath(String, reason: String)
  /// What may be in a tar stream and not in a tree.
  case notAllowed(String, reason: String)
  case pathTooLong(bytes: Int)
  /// Extended headers or maps beyond their limit, in bytes or segments.
  case tooLarge(String, limit: Int)

  package var description: String {
    switch self {
    case .truncated(let offset): "the archive is truncated: it breaks off at byte \(offset)"
    case .badChecksum(let offset):
      "byte \(offset) of the archive should begin an entry, and the checksum there is wrong"
    case .malformed(let what, let offset): "\(what) near byte \(offset) of the archive cannot be read"
    case .unsupportedKind(let kind, let path):
      "'\(path)' in the archive is of kind \(kind), which is not supported"
    case .unsafePath(let path, let reason): "'\(path)' in the archive leads out of the tree: \(reason)"
    case .notAllowed(let path, let reason): "'\(path)' cannot be in a capsule: \(reason)"
    case .pathTooLong(let bytes): "a path or name of \(bytes) bytes in the archive is too long for Linux"
    case .tooLarge(let what, let limit): "\(what) is larger than allowed (\(limit))"
    }
  }
}
