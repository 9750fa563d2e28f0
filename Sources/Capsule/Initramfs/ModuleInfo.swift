/// What a module says of itself in its `.modinfo` section: `key=value` strings, each ended by NUL.
struct ModuleInfo: Hashable {
  /// Files below the firmware directory.
  var firmware: [String] = []
  /// ELF's number of the architecture: 62 is amd64, 183 arm64.
  var machine: UInt16

  /// The architecture a 64-bit little-endian ELF file is for.
  static func machine(ofELF bytes: [UInt8]) -> UInt16? {
    guard bytes.count >= 64, bytes.starts(with: [0x7F, 0x45, 0x4C, 0x46, 2, 1]) else { return nil }
    return UInt16(bytes[0x12]) | UInt16(bytes[0x13]) << 8
  }

  /// Reads a 64-bit little-endian ELF object (ELF-64 object file format, version 1.5), as every module of
  /// amd64 and arm64 is.
  ///
  /// - Returns: `nil` for anything else, and for one whose tables lead out of it.
  init?(elf bytes: [UInt8]) {
    guard let machine = Self.machine(ofELF: bytes) else { return nil }
    self.machine = machine
    func number(_ offset: Int, _ length: Int) -> Int? {
      guard offset >= 0, offset <= bytes.count - length else { return nil }
      var value: UInt64 = 0
      for index in (0..<length).reversed() { value = value << 8 | UInt64(bytes[offset + index]) }
      return Int(exactly: value)
    }
    guard let sections = number(0x28, 8), let entrySize = number(0x3A, 2), let count = number(0x3C, 2),
      let namesIndex = number(0x3E, 2), entrySize >= 64, sections < bytes.count
    else { return nil }
    func section(_ index: Int) -> (name: Int, offset: Int, size: Int)? {
      let start = sections + index * entrySize
      guard let name = number(start, 4), let offset = number(start + 0x18, 8), let size = number(start + 0x20, 8)
      else { return nil }
      return (name, offset, size)
    }
    guard let names = section(namesIndex) else { return nil }
    let wanted = Array(".modinfo\0".utf8)
    for index in 0..<count {
      guard let section = section(index) else { return nil }
      let (nameStart, nameOverflow) = names.offset.addingReportingOverflow(section.name)
      guard !nameOverflow, nameStart <= bytes.count - wanted.count,
        bytes[nameStart..<nameStart + wanted.count].elementsEqual(wanted)
      else { continue }
      guard section.offset <= bytes.count, section.size <= bytes.count - section.offset else { return nil }
      for line in bytes[section.offset..<section.offset + section.size].split(separator: 0) {
        if line.starts(with: "firmware=".utf8) {
          firmware.append(String(decoding: line.dropFirst(9), as: UTF8.self))
        }
      }
      return
    }
  }
}
