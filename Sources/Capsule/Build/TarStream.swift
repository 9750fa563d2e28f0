import CapsuleFormat

/// A tree as its canonical tar stream, drawn piece by piece from any position on.
struct TarStream: ~Copyable {
  private let tree: FileTree
  private let plan: StreamPlan
  private var next = 0
  private var reader: ContentReader
  /// Bytes of header, padding or end mark that come next.
  private var pending: ArraySlice<UInt8> = []
  /// Bytes of the current file that come after those.
  private var contentLeft: UInt64 = 0
  private var paddingLength = 0
  /// Where in the stream the next byte is.
  private(set) var position: UInt64 = 0

  init(_ tree: FileTree, _ plan: StreamPlan) {
    self.tree = tree
    self.plan = plan
    reader = ContentReader(source: tree.source)
  }

  /// Goes on at another position of the stream.
  mutating func seek(to position: UInt64) throws {
    self.position = position
    next = plan.entry(at: position)
    contentLeft = 0
    var skipped = position - plan.starts[next]
    try begin()
    let ofHeader = min(skipped, UInt64(pending.count))
    pending = pending.dropFirst(Int(ofHeader))
    skipped -= ofHeader
    guard skipped > 0 else { return }
    let ofContent = min(skipped, contentLeft)
    contentLeft -= ofContent
    skipped -= ofContent
    if contentLeft > 0 {
      try reader.open(tree.items[next - 1], at: ofContent)
    } else {
      pending = [UInt8](repeating: 0, count: paddingLength).dropFirst(Int(skipped))
    }
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
      } else if next <= tree.items.count {
        try begin()
      } else {
        break
      }
    }
    position += UInt64(filled)
    return filled
  }

  /// Goes on to the next entry, or to the end mark behind the last one.
  private mutating func begin() throws {
    defer { next += 1 }
    guard next < tree.items.count else {
      pending = TarWriter.end[...]
      return
    }
    let item = tree.items[next]
    pending = try TarWriter.header(of: item.entry)[...]
    guard case .file = item.entry.kind, item.entry.size > 0 else { return }
    try reader.open(item)
    contentLeft = item.entry.size
    paddingLength = TarWriter.padding(after: item.entry.size)
  }
}
