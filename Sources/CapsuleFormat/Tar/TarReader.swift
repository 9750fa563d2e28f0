/// Takes a tar stream apart as it arrives, in pieces of any size.
///
/// Reads ustar, PAX, and GNU's extensions (long names, base-256 numbers, sparse files of every format).
/// Content is handed on as slices of what was pushed in, never copied.
package struct TarReader {
  private enum State {
    case header
    /// The content of an `x`, `g`, `L` or `K` entry.
    case extensionContent(kind: UInt8, length: Int)
    case sparseContinuation(TarHeader)
    /// The map of a GNU 1.0 sparse file, which stands before its content.
    case sparseMap(TarEntry, stored: UInt64)
    case content
    case padding(Int)
    case oneZeroBlock
    case ended
  }

  private var state = State.header
  private var pending: [UInt8] = []
  /// Bytes taken or skipped so far.
  package private(set) var position: UInt64 = 0
  /// The current content: what is left of each segment, the next one last.
  private var segments: [SparseSegment] = []
  private var paddingLength = 0
  private var global = PAXRecords()
  private var records: PAXRecords?
  private var longPath: [UInt8]?
  private var longLink: [UInt8]?
  /// Entries handed on so far.
  package private(set) var entryCount = 0

  private let keepsACLText: Bool

  /// - Parameter keepsACLText: Whether access control lists in text (`SCHILY.acl.*`) are handed on, as attributes of that
  ///   name, for someone to translate who knows the tree's users. In a capsule's own stream there are none.
  package init(keepsACLText: Bool = false) {
    self.keepsACLText = keepsACLText
  }

  /// Whether the end mark has been read; what follows it is ignored.
  package var isAtEnd: Bool {
    if case .ended = state { return true }
    return false
  }

  /// Hands everything that `bytes` completes to `sink`.
  ///
  /// - Throws: `TarError`, or what the sink throws; the reader is of no use afterwards.
  package mutating func consume(_ bytes: UnsafeRawBufferPointer, into sink: inout some TarSink) throws {
    var input = bytes
    while !input.isEmpty {
      switch state {
      case .ended: return
      case .content: try consumeContent(&input, into: &sink)
      case .padding(let count):
        let skipped = min(count, input.count)
        advance(&input, by: skipped)
        state = skipped == count ? .header : .padding(count - skipped)
      case .extensionContent(let kind, let length):
        let wanted = (length + 511) / 512 * 512 - pending.count
        let taken = min(wanted, input.count)
        pending.append(contentsOf: input[..<taken])
        advance(&input, by: taken)
        if taken == wanted {
          let content = Array(pending.prefix(length))
          pending.removeAll()
          state = .header
          try take(extension: kind, content)
        }
      case .header, .oneZeroBlock, .sparseContinuation, .sparseMap:
        guard let block = nextBlock(&input) else { return }
        try block.withUnsafeBytes { try take(block: $0, into: &sink) }
      }
    }
  }

  package mutating func consume(_ bytes: [UInt8], into sink: inout some TarSink) throws {
    try bytes.withUnsafeBytes { try consume($0, into: &sink) }
  }

  /// Leaves out what is left of the current entry's content, for who finds it by its place in the archive.
  ///
  /// - Returns: The bytes that are not to be pushed in, padding included; 0 between entries.
  package mutating func skipContent(into sink: inout some TarSink) throws -> UInt64 {
    guard case .content = state else { return 0 }
    // Their sum is the entry's stored size, which fits.
    let skipped = segments.reduce(UInt64(paddingLength)) { $0 + $1.length }
    segments = []
    position += skipped
    try sink.endEntry()
    state = .header
    return skipped
  }

  /// To be called when there is no more: throws `TarError.truncated` where something is missing.
  package func finish() throws(TarError) {
    switch state {
    case .ended: return
    // One block of zeros is too few, and still no doubt where the archive ends.
    case .oneZeroBlock where pending.isEmpty: return
    default: throw .truncated(at: position)
    }
  }

  private mutating func advance(_ input: inout UnsafeRawBufferPointer, by count: Int) {
    position += UInt64(count)
    input = UnsafeRawBufferPointer(rebasing: input[count...])
  }

  private mutating func nextBlock(_ input: inout UnsafeRawBufferPointer) -> [UInt8]? {
    let taken = min(TarHeader.length - pending.count, input.count)
    pending.append(contentsOf: input[..<taken])
    advance(&input, by: taken)
    guard pending.count == TarHeader.length else { return nil }
    defer { pending.removeAll(keepingCapacity: true) }
    return pending
  }

  private mutating func take(block: UnsafeRawBufferPointer, into sink: inout some TarSink) throws {
    let start = position - UInt64(TarHeader.length)
    switch state {
    case .sparseContinuation(var header):
      let (segments, continues) = try TarHeader.sparseContinuation(block, at: start)
      header.sparse += segments
      header.sparseContinues = continues
      guard header.sparse.count <= PAXRecords.segmentLimit else {
        throw TarError.tooLarge("a sparse map", limit: PAXRecords.segmentLimit)
      }
      try take(header: header, into: &sink)
    case .sparseMap(let entry, let stored):
      try take(sparseMapBlock: block, of: entry, stored: stored, into: &sink)
    case .header, .oneZeroBlock:
      guard let header = try TarHeader(block: block, at: start) else {
        if case .oneZeroBlock = state { state = .ended } else { state = .oneZeroBlock }
        return
      }
      guard case .header = state else { throw TarError.malformed("a lone block of zeros", at: start) }
      try take(header: header, into: &sink)
    default: preconditionFailure("only the states that wait for a block come here")
    }
  }

  private mutating func take(header: TarHeader, into sink: inout some TarSink) throws {
    if header.sparseContinues {
      state = .sparseContinuation(header)
      return
    }
    switch header.kind {
    case UInt8(ascii: "x"), UInt8(ascii: "g"), UInt8(ascii: "X"), UInt8(ascii: "L"), UInt8(ascii: "K"):
      guard let length = Int(exactly: header.size), length >= 0, length <= PAXRecords.sizeLimit else {
        throw TarError.tooLarge("an extended header", limit: PAXRecords.sizeLimit)
      }
      if length > 0 { state = .extensionContent(kind: header.kind, length: length) } else { state = .header }
    default: try take(entry: header, into: &sink)
    }
  }

  private mutating func take(extension kind: UInt8, _ content: [UInt8]) throws(TarError) {
    switch kind {
    case UInt8(ascii: "g"): try global.merge(content, at: position)
    case UInt8(ascii: "L"): longPath = Array(content.prefix { $0 != 0 })
    case UInt8(ascii: "K"): longLink = Array(content.prefix { $0 != 0 })
    default:
      // What stands in an entry's own header overrides the global one.
      var merged = records ?? global
      try merged.merge(content, at: position)
      records = merged
    }
  }

  private mutating func take(entry header: TarHeader, into sink: inout some TarSink) throws {
    let records = self.records ?? global
    defer {
      self.records = nil
      longPath = nil
      longLink = nil
    }
    // Volume labels hold nothing for a tree; their header has no content.
    if header.kind == UInt8(ascii: "V") { return }
    let rawPath = records.sparse.name ?? records.path ?? longPath ?? header.path
    let link = records.link ?? longLink ?? header.link
    let storedSize = records.size.map(Int64.init(exactly:)) ?? header.size
    guard let storedSize, storedSize >= 0 else { throw TarError.malformed("the size of an entry", at: position) }

    var kind: TarEntry.Kind
    switch header.kind {
    case 0, UInt8(ascii: "0"), UInt8(ascii: "7"), UInt8(ascii: "S"):
      // Before ustar, a name that ends in a slash was the mark of a directory.
      kind = header.kind == 0 && rawPath.last == UInt8(ascii: "/") ? .directory : .file
    case UInt8(ascii: "1"): kind = .hardLink(to: try TreePath(parsing: link))
    case UInt8(ascii: "2"):
      guard !link.isEmpty, link.count <= TreePath.lengthLimit, !link.contains(0) else {
        throw TarError.malformed("the target of a symbolic link", at: position)
      }
      kind = .symbolicLink(target: link)
    case UInt8(ascii: "3"): kind = .characterDevice(major: 0, minor: 0)
    case UInt8(ascii: "4"): kind = .blockDevice(major: 0, minor: 0)
    case UInt8(ascii: "5"): kind = .directory
    case UInt8(ascii: "6"): kind = .fifo
    default: throw TarError.unsupportedKind(header.kind, path: String(decoding: rawPath.prefix(256), as: UTF8.self))
    }
    if header.kind == UInt8(ascii: "3") || header.kind == UInt8(ascii: "4") {
      guard let major = UInt32(exactly: header.major), let minor = UInt32(exactly: header.minor) else {
        throw TarError.malformed("a device number", at: position)
      }
      kind =
        header.kind == UInt8(ascii: "3")
        ? .characterDevice(major: major, minor: minor) : .blockDevice(major: major, minor: minor)
    }
    guard let userID = records.userID ?? UInt32(exactly: header.userID),
      let groupID = records.groupID ?? UInt32(exactly: header.groupID)
    else { throw TarError.malformed("an owner", at: position) }

    var attributes = records.extendedAttributes
    if keepsACLText { attributes.merge(records.accessControl) { own, _ in own } }
    var entry = TarEntry(
      path: try TreePath(parsing: rawPath), kind: kind, mode: UInt32(truncatingIfNeeded: header.mode & 0o7777),
      userID: userID, groupID: groupID, modified: records.modified ?? Timestamp(seconds: header.modified),
      extendedAttributes: attributes.sorted { $0.key.lexicographicallyPrecedes($1.key) }
        .map { ExtendedAttribute(name: $0.key, value: $0.value) })
    guard case .file = kind else {
      // A directory's size is a quota, if anything; a hard link with content of its own is more than a link.
      if case .hardLink = kind, storedSize > 0 {
        throw TarError.unsupportedKind(header.kind, path: "\(entry.path) (a hard link with content)")
      }
      try hand(entry, segments: [], stored: 0, into: &sink)
      return
    }
    let stored = UInt64(storedSize)
    entry.size = stored
    if header.kind == UInt8(ascii: "S") {
      entry.size = header.sparseSize
      try hand(entry, segments: header.sparse, stored: stored, into: &sink)
    } else if records.sparse.major == 1 {
      guard records.sparse.minor == 0 || records.sparse.minor == nil, let size = records.sparse.realSize else {
        throw TarError.malformed("a sparse file", at: position)
      }
      entry.size = size
      state = .sparseMap(entry, stored: stored)
      sparseMapText = []
    } else if let segments = records.sparse.segments {
      entry.size = records.sparse.realSize ?? stored
      try hand(entry, segments: segments, stored: stored, into: &sink)
    } else {
      try hand(entry, segments: [SparseSegment(offset: 0, length: stored)], stored: stored, into: &sink)
    }
  }

  private var sparseMapText: [UInt8] = []

  private mutating func take(
    sparseMapBlock block: UnsafeRawBufferPointer, of entry: TarEntry, stored: UInt64, into sink: inout some TarSink
  ) throws {
    let malformed = TarError.malformed("the sparse map of '\(entry.path)'", at: position)
    sparseMapText += block
    guard sparseMapText.count <= PAXRecords.sizeLimit else {
      throw TarError.tooLarge("a sparse map", limit: PAXRecords.sizeLimit)
    }
    // A map is a count, then as many pairs of numbers, one to a line, padded with NUL to a whole block.
    let lines = sparseMapText.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).dropLast()
    guard let first = lines.first else {
      // No number is as long as a block.
      throw malformed
    }
    guard let count = decimal(first), count <= PAXRecords.segmentLimit else { throw malformed }
    guard lines.count > Int(count) * 2 else { return }
    let numbers = lines.dropFirst().prefix(Int(count) * 2).map(decimal)
    var segments: [SparseSegment] = []
    for index in stride(from: 0, to: numbers.count, by: 2) {
      guard let offset = numbers[index], let length = numbers[index + 1] else { throw malformed }
      segments.append(SparseSegment(offset: offset, length: length))
    }
    let mapLength = UInt64(sparseMapText.count)
    guard mapLength <= stored else { throw malformed }
    sparseMapText = []
    try hand(entry, segments: segments, stored: stored - mapLength, into: &sink)
  }

  /// Hands an entry on and gets ready for its content, whose segments must be what is stored.
  private mutating func hand(
    _ entry: TarEntry, segments: [SparseSegment], stored: UInt64, into sink: inout some TarSink
  ) throws {
    var end: UInt64 = 0
    var total: UInt64 = 0
    for segment in segments {
      let (segmentEnd, overflow) = segment.offset.addingReportingOverflow(segment.length)
      guard !overflow, segment.offset >= end, segmentEnd <= entry.size else {
        throw TarError.malformed("the sparse map of '\(entry.path)'", at: position)
      }
      end = segmentEnd
      total += segment.length
    }
    guard total == stored, entry.size <= UInt64(Int64.max) else {
      throw TarError.malformed("the size of '\(entry.path)'", at: position)
    }
    entryCount += 1
    self.segments = segments.filter { $0.length > 0 }.reversed()
    paddingLength = Int((512 - stored % 512) % 512)
    try sink.entry(entry)
    if self.segments.isEmpty {
      try sink.endEntry()
      state = .header
    } else {
      state = .content
    }
  }

  private mutating func consumeContent(_ input: inout UnsafeRawBufferPointer, into sink: inout some TarSink) throws {
    guard let segment = segments.popLast() else { preconditionFailure("content has a segment") }
    let taken = Int(min(segment.length, UInt64(input.count)))
    try sink.content(UnsafeRawBufferPointer(rebasing: input[..<taken]), at: segment.offset)
    advance(&input, by: taken)
    if UInt64(taken) < segment.length {
      segments.append(
        SparseSegment(offset: segment.offset + UInt64(taken), length: segment.length - UInt64(taken)))
    } else if segments.isEmpty {
      try sink.endEntry()
      state = paddingLength == 0 ? .header : .padding(paddingLength)
    }
  }
}
