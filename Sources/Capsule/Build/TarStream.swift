import CapsuleFormat

/// A tree as its canonical tar stream, drawn piece by piece.
struct TarStream: ~Copyable {
  private let tree: FileTree
  private var next = 0
  private var reader: ContentReader
  /// Bytes of header, padding or end mark that come next.
  private var pending: ArraySlice<UInt8> = []
  /// Bytes of the current file that come after those.
  private var contentLeft: UInt64 = 0
  private var paddingLength = 0
  private var isEnding = false

  init(_ tree: FileTree) {
    self.tree = tree
    reader = ContentReader(source: tree.source)
  }

  /// Fills the buffer with what comes next.
  ///
  /// - Returns: The bytes written, fewer than there is room for only at the end.
  mutating func fill(_ buffer: UnsafeMutableRawBufferPointer) throws -> Int {
    var filled = 0
    while filled < buffer.count {
      let room = UnsafeMutableRawBufferPointer(rebasing: buffer[filled...])
      if !pending.isEmpty {
        let count = min(pending.count, room.count)
        room.copyBytes(from: pending.prefix(count))
        pending = pending.dropFirst(count)
        filled += count
      } else if contentLeft > 0 {
        let count = Int(min(contentLeft, UInt64(room.count)))
        try reader.read(into: UnsafeMutableRawBufferPointer(rebasing: room[..<count]))
        contentLeft -= UInt64(count)
        filled += count
        if contentLeft == 0 { pending = [UInt8](repeating: 0, count: paddingLength)[...] }
      } else if next < tree.items.count {
        let item = tree.items[next]
        next += 1
        pending = try TarWriter.header(of: item.entry)[...]
        if case .file = item.entry.kind, item.entry.size > 0 {
          try reader.open(item)
          contentLeft = item.entry.size
          paddingLength = TarWriter.padding(after: item.entry.size)
        }
      } else if !isEnding {
        isEnding = true
        pending = TarWriter.end[...]
      } else {
        break
      }
    }
    return filled
  }
}
