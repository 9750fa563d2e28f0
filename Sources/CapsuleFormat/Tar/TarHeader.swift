/// The fields of one 512-byte header block as they stand there (POSIX.1-1988 ustar, and GNU's variant of it).
struct TarHeader {
  static let length = 512

  var path: [UInt8]
  var mode: UInt64
  var userID: Int64
  var groupID: Int64
  var size: Int64
  var modified: Int64
  var kind: UInt8
  var link: [UInt8]
  var major: UInt64
  var minor: UInt64
  /// Old GNU sparse files (kind `S`): the first segments, whether more blocks of them follow, and the real size.
  var sparse: [SparseSegment] = []
  var sparseContinues = false
  var sparseSize: UInt64 = 0

  /// - Returns: `nil` for a block of zeros, which ends an archive.
  /// - Parameter offset: Where the block stands, for errors.
  init?(block: UnsafeRawBufferPointer, at offset: UInt64) throws(TarError) {
    precondition(block.count == Self.length)
    if block[0] == 0, block.allSatisfy({ $0 == 0 }) { return nil }
    try Self.verifyChecksum(block, at: offset)

    func number(_ start: Int, _ length: Int, _ what: String) throws(TarError) -> Int64 {
      guard let value = Self.number(block[start..<start + length]) else { throw .malformed(what, at: offset) }
      return value
    }
    func positive(_ start: Int, _ length: Int, _ what: String) throws(TarError) -> UInt64 {
      guard let value = UInt64(exactly: try number(start, length, what)) else { throw .malformed(what, at: offset) }
      return value
    }

    path = Self.text(block[0..<100])
    mode = try positive(100, 8, "the mode")
    userID = try number(108, 8, "the user number")
    groupID = try number(116, 8, "the group number")
    size = try number(124, 12, "the size")
    modified = try number(136, 12, "the time")
    kind = block[156]
    link = Self.text(block[157..<257])
    major = 0
    minor = 0
    let isUstar = block[257..<263].elementsEqual(Array("ustar\0".utf8))
    let isGNU = block[257..<265].elementsEqual(Array("ustar  \0".utf8))
    if isUstar || isGNU, kind == UInt8(ascii: "3") || kind == UInt8(ascii: "4") {
      major = try positive(329, 8, "the device number")
      minor = try positive(337, 8, "the device number")
    }
    if isUstar, block[345] != 0 {
      path = Self.text(block[345..<500]) + [UInt8(ascii: "/")] + path
    }
    if kind == UInt8(ascii: "S") {
      sparse = try Self.segments(block[386..<482], at: offset)
      sparseContinues = block[482] != 0
      sparseSize = try positive(483, 12, "the size of a sparse file")
    }
  }

  /// The segments in a block that continues an old GNU sparse header, and whether another one follows.
  static func sparseContinuation(
    _ block: UnsafeRawBufferPointer, at offset: UInt64
  ) throws(TarError) -> (segments: [SparseSegment], continues: Bool) {
    (try segments(block[0..<504], at: offset), block[504] != 0)
  }

  private static func segments(
    _ fields: Slice<UnsafeRawBufferPointer>, at offset: UInt64
  ) throws(TarError) -> [SparseSegment] {
    var segments: [SparseSegment] = []
    for start in stride(from: fields.startIndex, to: fields.endIndex, by: 24) {
      // An unused field is all NUL.
      if fields[start] == 0 && fields[start + 12] == 0 { continue }
      guard let begin = number(fields[start..<start + 12]).flatMap(UInt64.init(exactly:)),
        let length = number(fields[start + 12..<start + 24]).flatMap(UInt64.init(exactly:))
      else { throw .malformed("a sparse map", at: offset) }
      segments.append(SparseSegment(offset: begin, length: length))
    }
    return segments
  }

  private static func verifyChecksum(_ block: UnsafeRawBufferPointer, at offset: UInt64) throws(TarError) {
    var unsigned: Int64 = 0
    var signed: Int64 = 0
    for index in 0..<length {
      let byte = (148..<156).contains(index) ? UInt8(ascii: " ") : block[index]
      unsigned += Int64(byte)
      signed += Int64(Int8(bitPattern: byte))
    }
    // Some old archivers summed signed characters.
    guard let stored = number(block[148..<156]), stored == unsigned || stored == signed else {
      throw .badChecksum(at: offset)
    }
  }

  /// Up to the first NUL.
  private static func text(_ field: Slice<UnsafeRawBufferPointer>) -> [UInt8] {
    Array(field.prefix { $0 != 0 })
  }

  /// Octal digits among blanks, or GNU's base 256 where the first bit is set. An empty field is 0.
  static func number(_ field: Slice<UnsafeRawBufferPointer>) -> Int64? {
    guard let first = field.first else { return nil }
    if first & 0x80 != 0 {
      // Two's complement, big-endian; the first bit only marks the form.
      let negative = first & 0x40 != 0
      var value: Int64 = negative ? -1 : 0
      for (index, byte) in field.enumerated() {
        let bits = index == 0 ? (negative ? byte : byte & 0x7F) : byte
        let (shifted, overflow) = value.multipliedReportingOverflow(by: 256)
        guard !overflow else { return nil }
        value = shifted | Int64(bits)
      }
      return value
    }
    var value: Int64 = 0
    var digits = false
    for byte in field {
      switch byte {
      case UInt8(ascii: "0")...UInt8(ascii: "7"):
        let (shifted, overflow) = value.multipliedReportingOverflow(by: 8)
        guard !overflow else { return nil }
        value = shifted + Int64(byte - UInt8(ascii: "0"))
        digits = true
      case UInt8(ascii: " ") where !digits: continue
      case UInt8(ascii: " "), 0: return value
      default: return nil
      }
    }
    return value
  }
}

/// A stretch of a sparse file that has content.
struct SparseSegment: Hashable {
  var offset: UInt64
  var length: UInt64
}
