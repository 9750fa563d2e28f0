/// The packets of a transfer that is under way: RFC 1350 section 5, and OACK of RFC 2347.
package enum Packet: Hashable, Sendable {
  /// `payload` is shorter than the block size in the last one only.
  case data(block: UInt16, payload: [UInt8])
  case acknowledgement(block: UInt16)
  case error(ErrorCode, text: String)
  case optionAcknowledgement([Request.Option])

  package static let dataOpcode: UInt8 = 3
  /// Bytes before the payload of a DATA packet: its opcode and the block's number.
  package static let headerSize = 4
  /// Bytes of an ERROR's text that are kept.
  static let maximumErrorText = 128

  /// - Parameter bytes: A whole datagram. Bytes after an ACK's four are ignored, as is a missing NUL of an ERROR's
  ///   text: neither changes what the packet says.
  /// - Returns: `nil` for anything else than these packets, requests too.
  package init?(parsing bytes: UnsafeRawBufferPointer) {
    guard bytes.count >= 2, bytes[0] == 0 else { return nil }
    if bytes[1] == 6 {
      guard let options = Self.options(bytes[2...]) else { return nil }
      self = .optionAcknowledgement(options)
      return
    }
    guard bytes.count >= Self.headerSize else { return nil }
    let number = UInt16(bytes[2]) << 8 | UInt16(bytes[3])
    switch bytes[1] {
    case Self.dataOpcode: self = .data(block: number, payload: Array(bytes[4...]))
    case 4: self = .acknowledgement(block: number)
    case 5: self = .error(ErrorCode(rawValue: number), text: Self.printable(bytes[4...]))
    default: return nil
    }
  }

  package init?(parsing bytes: [UInt8]) {
    guard let packet = bytes.withUnsafeBytes({ Packet(parsing: $0) }) else { return nil }
    self = packet
  }

  /// The packet.
  package var bytes: [UInt8] {
    switch self {
    case .data(let block, let payload): [0, Self.dataOpcode] + Self.wire(block) + payload
    case .acknowledgement(let block): [0, 4] + Self.wire(block)
    case .error(let code, let text):
      // A NUL within would end the text early.
      [0, 5] + Self.wire(code.rawValue) + text.utf8.filter { $0 != 0 }.prefix(Self.maximumErrorText) + [0]
    case .optionAcknowledgement(let options):
      // Nothing after the last value's NUL: there are clients that reject what follows it.
      options.reduce(into: [0, 6]) { $0 += $1.name + [0] + $1.value + [0] }
    }
  }

  private static func wire(_ number: UInt16) -> [UInt8] {
    [UInt8(number >> 8), UInt8(truncatingIfNeeded: number)]
  }

  /// Names and values in turn, each ended by a NUL; `nil` where one is not, or a name is without a value.
  private static func options(_ bytes: Slice<UnsafeRawBufferPointer>) -> [Request.Option]? {
    guard bytes.last == 0 || bytes.isEmpty, bytes.count <= Request.maximumSize else { return nil }
    let texts = bytes.dropLast().split(separator: 0, omittingEmptySubsequences: false)
    if bytes.isEmpty { return [] }
    guard texts.count.isMultiple(of: 2) else { return nil }
    return stride(from: 0, to: texts.count, by: 2).map {
      Request.Option(name: Array(texts[$0]), value: Array(texts[$0 + 1]))
    }
  }

  /// A stranger's text for logs and consoles: its printable ASCII up to a NUL, nothing that moves a cursor.
  private static func printable(_ bytes: Slice<UnsafeRawBufferPointer>) -> String {
    let text = bytes.prefix { $0 != 0 }.prefix(maximumErrorText)
    return String(decoding: text.map { (0x20...0x7E).contains($0) ? $0 : UInt8(ascii: "?") }, as: UTF8.self)
  }
}
