/// Read-only bytes of known size that any number of transfers share: parts one after the other.
package struct Content: Sendable {
  package enum Part: Sendable {
    case bytes([UInt8])
    /// A whole file that is never rewritten, mapped on first use. `size` in bytes.
    case file(path: String, size: Int)
  }

  package let parts: [Part]
  /// Bytes of all parts together.
  package let size: Int

  package init(parts: [Part]) {
    self.parts = parts
    size = parts.reduce(0) { total, part in
      switch part {
      case .bytes(let bytes): total + bytes.count
      case .file(_, let size): total + size
      }
    }
  }
}
