/// Blocks of a capture file (pcapng, draft-ietf-opsawg-pcapng), little-endian. A file is one section
/// header, its interfaces, then packets in any order.
package enum PCAPNG {
  /// What a packet of an interface begins with: numbers of the registry of link-layer header types.
  package enum LinkType: UInt16, Sendable {
    case ethernet = 1
    case ipv4 = 228
  }

  /// The types of blocks written here.
  package enum BlockType {
    package static let sectionHeader: UInt32 = 0x0A0D_0D0A
    package static let interface: UInt32 = 1
    package static let statistics: UInt32 = 5
    package static let packet: UInt32 = 6
  }

  private static let comment: UInt16 = 1

  /// - Parameter application: The program that writes.
  package static func sectionHeader(application: String) -> [UInt8] {
    // Byte order, version 1.0, a section of unknown length.
    var body = little(0x1A2B_3C4D as UInt32) + little(1 as UInt16) + little(0 as UInt16) + little(UInt64.max)
    body += option(4, Array(application.utf8)) + endOfOptions
    return block(BlockType.sectionHeader, body)
  }

  /// The next interface: the first is number 0.
  /// - Parameter longest: Bytes kept of a packet; 0 where there is no limit.
  package static func interface(_ type: LinkType, name: String, description: String, longest: UInt32 = 0) -> [UInt8] {
    var body = little(type.rawValue) + little(0 as UInt16) + little(longest)
    body += option(2, Array(name.utf8)) + option(3, Array(description.utf8)) + endOfOptions
    return block(BlockType.interface, body)
  }

  /// - Parameters:
  ///   - at: Microseconds since 1970-01-01 UTC.
  ///   - length: Of the packet on the wire, where not all of it was kept.
  package static func packet(
    interface: UInt32, at: UInt64, _ bytes: [UInt8], length: Int? = nil, comment text: String? = nil
  ) -> [UInt8] {
    var body = little(interface) + little(UInt32(truncatingIfNeeded: at >> 32)) + little(UInt32(truncatingIfNeeded: at))
    body += little(UInt32(clamping: bytes.count)) + little(UInt32(clamping: length ?? bytes.count)) + padded(bytes)
    if let text { body += option(comment, Array(text.utf8)) + endOfOptions }
    return block(BlockType.packet, body)
  }

  /// Where an interface stands: also a sign of life while no packet comes.
  /// - Parameter dropped: Packets that were lost before they could be written.
  package static func statistics(interface: UInt32, at: UInt64, dropped: Int, comment text: String? = nil) -> [UInt8] {
    var body = little(interface) + little(UInt32(truncatingIfNeeded: at >> 32)) + little(UInt32(truncatingIfNeeded: at))
    if let text { body += option(comment, Array(text.utf8)) }
    body += option(5, little(UInt64(clamping: dropped))) + endOfOptions
    return block(BlockType.statistics, body)
  }

  /// The comment of a block of statistics.
  package static func comment(ofStatistics block: [UInt8]) -> String? {
    // Type, length, interface, time.
    guard block.count >= 28, block[20] == UInt8(comment), block[21] == 0 else { return nil }
    let count = Int(block[22]) | Int(block[23]) << 8
    guard 24 + count <= block.count else { return nil }
    return String(decoding: block[24..<24 + count], as: UTF8.self)
  }

  private static let endOfOptions = little(0 as UInt32)

  private static func option(_ code: UInt16, _ value: [UInt8]) -> [UInt8] {
    let value = Array(value.prefix(Int(UInt16.max)))
    return little(code) + little(UInt16(value.count)) + padded(value)
  }

  private static func block(_ type: UInt32, _ body: [UInt8]) -> [UInt8] {
    let length = little(UInt32(clamping: body.count + 12))
    return little(type) + length + body + length
  }

  private static func padded(_ bytes: [UInt8]) -> [UInt8] {
    bytes + [UInt8](repeating: 0, count: (4 - bytes.count % 4) % 4)
  }

  private static func little(_ value: some FixedWidthInteger & UnsignedInteger) -> [UInt8] {
    (0..<value.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
  }
}

/// Takes a stream of bytes apart into whole blocks, so that a file never ends within one.
package struct PCAPNGBlocks: Sendable {
  private var rest: [UInt8] = []
  /// The longest block that is taken, in bytes.
  private static let longest = 1 << 20

  package init() {}

  /// - Returns: `nil` where what comes is no such file.
  package mutating func take(_ piece: [UInt8]) -> [(type: UInt32, bytes: [UInt8])]? {
    rest += piece
    var blocks: [(type: UInt32, bytes: [UInt8])] = []
    var index = 0
    while rest.count - index >= 12 {
      let length = Int(word(index + 4))
      guard (12...Self.longest).contains(length), length % 4 == 0 else { return nil }
      guard rest.count - index >= length else { break }
      guard word(index + length - 4) == word(index + 4) else { return nil }
      blocks.append((word(index), Array(rest[index..<index + length])))
      index += length
    }
    rest.removeFirst(index)
    return blocks
  }

  private func word(_ index: Int) -> UInt32 {
    (0..<4).reduce(0) { $0 | UInt32(rest[index + $1]) << (8 * UInt32($1)) }
  }
}
