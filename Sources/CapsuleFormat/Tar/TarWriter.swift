/// Writes entries in the one form that a capsule has: POSIX ustar, with a PAX header only for what ustar cannot say.
///
/// The same entry always gives the same bytes: no names of users, no split paths, records in a fixed order.
package enum TarWriter {
  /// What ends an archive.
  package static let end = [UInt8](repeating: 0, count: 1024)

  /// Bytes of zeros to put behind content of `size` bytes.
  package static func padding(after size: UInt64) -> Int { Int((512 - size % 512) % 512) }

  /// The header blocks of an entry: 512 bytes, or more where a PAX header comes first.
  ///
  /// - Throws: `TarError.tooLarge` where the extended attributes are more than readers take.
  package static func header(of entry: TarEntry) throws(TarError) -> [UInt8] {
    var path = entry.path.isRoot ? Array("./".utf8) : entry.path.bytes
    if entry.kind == .directory, !entry.path.isRoot { path.append(UInt8(ascii: "/")) }
    var link: [UInt8] = []
    var flag = UInt8(ascii: "0")
    var device: (major: UInt32, minor: UInt32) = (0, 0)
    switch entry.kind {
    case .file: break
    case .hardLink(let target):
      flag = UInt8(ascii: "1")
      link = target.bytes
    case .symbolicLink(let target):
      flag = UInt8(ascii: "2")
      link = target
    case .characterDevice(let major, let minor):
      flag = UInt8(ascii: "3")
      device = (major, minor)
    case .blockDevice(let major, let minor):
      flag = UInt8(ascii: "4")
      device = (major, minor)
    case .directory: flag = UInt8(ascii: "5")
    case .fifo: flag = UInt8(ascii: "6")
    }
    var size: UInt64 = 0
    if case .file = entry.kind { size = entry.size }

    var records: [UInt8] = []
    if path.count > 100 { append("path", path, to: &records) }
    if link.count > 100 { append("linkpath", link, to: &records) }
    if size > octalLimit(12) { append("size", Array(String(size).utf8), to: &records) }
    if UInt64(entry.userID) > octalLimit(8) { append("uid", Array(String(entry.userID).utf8), to: &records) }
    if UInt64(entry.groupID) > octalLimit(8) { append("gid", Array(String(entry.groupID).utf8), to: &records) }
    let plainTime = UInt64(exactly: entry.modified.seconds).flatMap { $0 <= octalLimit(12) ? $0 : nil }
    if plainTime == nil || entry.modified.nanoseconds != 0 {
      append("mtime", Array(decimal(entry.modified).utf8), to: &records)
    }
    // A hard link's attributes are those of the file it names.
    if case .hardLink = entry.kind {
    } else {
      let sorted = entry.extendedAttributes.sorted { $0.name.lexicographicallyPrecedes($1.name) }
      for attribute in sorted { append("SCHILY.xattr.", attribute.name, attribute.value, to: &records) }
    }
    guard records.count <= PAXRecords.sizeLimit else {
      throw .tooLarge("the extended attributes of '\(entry.path)'", limit: PAXRecords.sizeLimit)
    }

    var bytes: [UInt8] = []
    if !records.isEmpty {
      bytes += block(
        path: Array("././@PaxHeader".utf8), flag: UInt8(ascii: "x"), mode: 0o644, size: UInt64(records.count))
      bytes += records
      bytes += [UInt8](repeating: 0, count: padding(after: UInt64(records.count)))
    }
    bytes += block(
      path: path, flag: flag, mode: entry.mode & 0o7777, user: entry.userID, group: entry.groupID,
      size: size, time: plainTime ?? 0, link: link, device: device)
    return bytes
  }

  private static func block(
    path: [UInt8], flag: UInt8, mode: UInt32, user: UInt32 = 0, group: UInt32 = 0, size: UInt64, time: UInt64 = 0,
    link: [UInt8] = [], device: (major: UInt32, minor: UInt32) = (0, 0)
  ) -> [UInt8] {
    var block = [UInt8](repeating: 0, count: TarHeader.length)
    func put(_ bytes: some Collection<UInt8>, at offset: Int) {
      block.replaceSubrange(offset..<offset + bytes.count, with: bytes)
    }
    /// Octal digits and a NUL; 0 where the number does not fit and stands in the PAX header.
    func number(_ value: UInt64, at offset: Int, length: Int) {
      let fitting = value <= octalLimit(length) ? value : 0
      for place in 0..<length - 1 {
        block[offset + place] = UInt8(ascii: "0") + UInt8(fitting >> (3 * UInt64(length - 2 - place)) & 7)
      }
    }
    put(path.prefix(100), at: 0)
    number(UInt64(mode), at: 100, length: 8)
    number(UInt64(user), at: 108, length: 8)
    number(UInt64(group), at: 116, length: 8)
    number(size, at: 124, length: 12)
    number(time, at: 136, length: 12)
    put([UInt8](repeating: UInt8(ascii: " "), count: 8), at: 148)
    block[156] = flag
    put(link.prefix(100), at: 157)
    put("ustar\u{0}00".utf8, at: 257)
    number(UInt64(device.major), at: 329, length: 8)
    number(UInt64(device.minor), at: 337, length: 8)
    let sum = block.reduce(0) { $0 + UInt64($1) }
    number(sum, at: 148, length: 7)
    return block
  }

  /// The largest number that an octal field of `length` bytes holds.
  private static func octalLimit(_ length: Int) -> UInt64 { (1 << (3 * UInt64(length - 1))) - 1 }

  private static func append(_ key: String, _ value: [UInt8], to records: inout [UInt8]) {
    append(key, [], value, to: &records)
  }

  private static func append(_ prefix: String, _ suffix: [UInt8], _ value: [UInt8], to records: inout [UInt8]) {
    // The length counts its own digits.
    let rest = 1 + prefix.utf8.count + suffix.count + 1 + value.count + 1
    var length = rest + 1
    while String(length).utf8.count + rest != length { length = String(length).utf8.count + rest }
    records += Array(String(length).utf8) + [UInt8(ascii: " ")] + Array(prefix.utf8) + suffix
    records += [UInt8(ascii: "=")] + value + [UInt8(ascii: "\n")]
  }

  /// Seconds with as many digits of fraction as there are, none of them a trailing zero.
  private static func decimal(_ time: Timestamp) -> String {
    var seconds = time.seconds
    var fraction = time.nanoseconds
    let negative = seconds < 0
    if negative, fraction != 0 {
      seconds += 1
      fraction = 1_000_000_000 - fraction
    }
    var text = (negative ? "-" : "") + String(seconds.magnitude)
    guard fraction != 0 else { return text }
    let digits = String(fraction)
    var padded = Substring(String(repeating: "0", count: 9 - digits.utf8.count) + digits)
    while padded.last == "0" { padded.removeLast() }
    text += "." + padded
    return text
  }
}
