/// The records of a PAX extended header (POSIX.1-2001, pax, "pax Extended Header").
struct PAXRecords {
  var path: [UInt8]?
  var link: [UInt8]?
  var size: UInt64?
  var userID: UInt32?
  var groupID: UInt32?
  var modified: Timestamp?
  /// By name, from SCHILY.xattr records, or LIBARCHIVE.xattr where those are missing.
  var extendedAttributes: [[UInt8]: [UInt8]] = [:]
  /// Access control lists in text, by the name of their record.
  var accessControl: [[UInt8]: [UInt8]] = [:]
  var sparse = SparseRecords()

  /// GNU tar's sparse files, formats 0.0 and 0.1 (map in the records) and 1.0 (map before the content).
  struct SparseRecords {
    var major: UInt64?
    var minor: UInt64?
    var name: [UInt8]?
    var realSize: UInt64?
    var segments: [SparseSegment]?
    var pendingOffset: UInt64?
  }

  /// A header may have at most this many bytes; names and values of attributes are bounded by the kernel below it.
  static let sizeLimit = 4 << 20
  static let segmentLimit = 1 << 18

  init() {}

  /// Takes in the records of one header; later ones override earlier ones.
  mutating func merge(_ bytes: [UInt8], at offset: UInt64) throws(TarError) {
    var rest = bytes[...]
    while !rest.isEmpty {
      // "%d %s=%s\n": the length counts the whole record, itself included.
      guard let space = rest.prefix(12).firstIndex(of: UInt8(ascii: " ")),
        let length = decimal(rest[..<space]), length <= UInt64(rest.count),
        rest.startIndex + Int(length) - 1 > space,
        rest[rest.startIndex + Int(length) - 1] == UInt8(ascii: "\n")
      else { throw .malformed("an extended header", at: offset) }
      let record = rest[(space + 1)..<(rest.startIndex + Int(length) - 1)]
      rest = rest[(rest.startIndex + Int(length))...]
      guard let equals = record.firstIndex(of: UInt8(ascii: "=")) else {
        throw .malformed("an extended header", at: offset)
      }
      try set(record[..<equals], to: record[(equals + 1)...], at: offset)
    }
  }

  private mutating func set(
    _ key: ArraySlice<UInt8>, to value: ArraySlice<UInt8>, at offset: UInt64
  ) throws(TarError) {
    let keyword = String(decoding: key, as: UTF8.self)
    func number() throws(TarError) -> UInt64 {
      guard let number = decimal(value) else { throw .malformed("the record \(keyword)", at: offset) }
      return number
    }
    func small() throws(TarError) -> UInt32 {
      guard let small = UInt32(exactly: try number()) else { throw .malformed("the record \(keyword)", at: offset) }
      return small
    }
    switch keyword {
    case "path": path = Array(value)
    case "linkpath": link = Array(value)
    case "size": size = try number()
    case "uid": userID = try small()
    case "gid": groupID = try small()
    case "mtime":
      guard let time = timestamp(value) else { throw .malformed("the record mtime", at: offset) }
      modified = time
    case "GNU.sparse.major": sparse.major = try number()
    case "GNU.sparse.minor": sparse.minor = try number()
    case "GNU.sparse.name": sparse.name = Array(value)
    case "GNU.sparse.realsize", "GNU.sparse.size": sparse.realSize = try number()
    case "GNU.sparse.offset": sparse.pendingOffset = try number()
    case "GNU.sparse.numbytes":
      guard let start = sparse.pendingOffset else { throw .malformed("a sparse map", at: offset) }
      sparse.segments = (sparse.segments ?? []) + [SparseSegment(offset: start, length: try number())]
      sparse.pendingOffset = nil
    case "GNU.sparse.map":
      let numbers = value.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
      guard numbers.count.isMultiple(of: 2) || value.isEmpty else { throw .malformed("a sparse map", at: offset) }
      var segments: [SparseSegment] = []
      for index in stride(from: 0, to: numbers.count - 1, by: 2) {
        guard let start = decimal(numbers[index]), let length = decimal(numbers[index + 1]) else {
          throw .malformed("a sparse map", at: offset)
        }
        segments.append(SparseSegment(offset: start, length: length))
      }
      sparse.segments = segments
    case "SCHILY.acl.access", "SCHILY.acl.default":
      accessControl[Array(key)] = Array(value)
    default:
      if keyword.hasPrefix("SCHILY.xattr.") {
        extendedAttributes[Array(key.dropFirst(13))] = Array(value)
      } else if keyword.hasPrefix("LIBARCHIVE.xattr.") {
        let name = percentDecoded(key.dropFirst(17))
        guard extendedAttributes[name] == nil else { return }
        guard let decoded = base64Decoded(value) else { throw .malformed("the record \(keyword)", at: offset) }
        extendedAttributes[name] = decoded
      }
    }
    if (sparse.segments?.count ?? 0) > Self.segmentLimit {
      throw .tooLarge("a sparse map", limit: Self.segmentLimit)
    }
  }
}

/// Digits alone, at least one.
func decimal(_ digits: some Collection<UInt8>) -> UInt64? {
  guard !digits.isEmpty else { return nil }
  var value: UInt64 = 0
  for digit in digits {
    guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return nil }
    let (product, overflow) = value.multipliedReportingOverflow(by: 10)
    let (sum, carry) = product.addingReportingOverflow(UInt64(digit - UInt8(ascii: "0")))
    guard !overflow, !carry else { return nil }
    value = sum
  }
  return value
}

/// `-`, seconds, and a fraction of any length, of which nanoseconds are kept, rounded towards the past.
private func timestamp(_ text: ArraySlice<UInt8>) -> Timestamp? {
  let negative = text.first == UInt8(ascii: "-")
  let parts = text.dropFirst(negative ? 1 : 0).split(
    separator: UInt8(ascii: "."), maxSplits: 1, omittingEmptySubsequences: false)
  guard let whole = parts.first.flatMap(decimal), let seconds = Int64(exactly: whole) else { return nil }
  var fraction: UInt32 = 0
  if parts.count == 2 {
    let digits = parts[1].prefix(9)
    guard parts[1].allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else { return nil }
    fraction = UInt32(clamping: decimal(digits) ?? 0)
    for _ in digits.count..<9 { fraction *= 10 }
  }
  if !negative { return Timestamp(seconds: seconds, nanoseconds: fraction) }
  if fraction == 0 { return Timestamp(seconds: -seconds) }
  return Timestamp(seconds: -seconds - 1, nanoseconds: 1_000_000_000 - fraction)
}

private func percentDecoded(_ text: ArraySlice<UInt8>) -> [UInt8] {
  var bytes: [UInt8] = []
  var rest = text
  while let byte = rest.popFirst() {
    if byte == UInt8(ascii: "%"), rest.count >= 2,
      let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
    {
      bytes.append(value)
      rest = rest.dropFirst(2)
    } else {
      bytes.append(byte)
    }
  }
  return bytes
}

/// RFC 4648, section 4; padding may be missing.
private func base64Decoded(_ text: ArraySlice<UInt8>) -> [UInt8]? {
  var bytes: [UInt8] = []
  var bits: UInt32 = 0
  var count: UInt32 = 0
  for byte in text where byte != UInt8(ascii: "=") {
    let value: UInt8
    switch byte {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = byte - UInt8(ascii: "A")
    case UInt8(ascii: "a")...UInt8(ascii: "z"): value = byte - UInt8(ascii: "a") + 26
    case UInt8(ascii: "0")...UInt8(ascii: "9"): value = byte - UInt8(ascii: "0") + 52
    case UInt8(ascii: "+"): value = 62
    case UInt8(ascii: "/"): value = 63
    default: return nil
    }
    bits = bits << 6 | UInt32(value)
    count += 6
    if count >= 8 {
      count -= 8
      bytes.append(UInt8(truncatingIfNeeded: bits >> count))
    }
  }
  return bytes
}
