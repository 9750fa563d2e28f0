import NetworkTypes

extension DHCPMessage {
  /// Reads a message.
  /// - Parameter bytes: The payload of one UDP datagram, whole.
  /// - Throws: ``DHCPParseError``; nothing but the error tells of what was read.
  package init(parsing bytes: Span<UInt8>) throws(DHCPParseError) {
    guard bytes.count >= Self.minimumLength else { throw .tooShort(bytes: bytes.count) }
    guard bytes.count <= Self.maximumLength else { throw .tooLong(bytes: bytes.count) }
    guard let operation = Operation(rawValue: bytes[0]) else { throw .unknownOperation(bytes[0]) }
    guard bytes[2] <= 16 else { throw .hardwareLength(bytes[2]) }
    guard bytes.bigEndian32(at: 236) == Self.cookie else { throw .missingCookie }

    // Most clients send no more than thirty options in three hundred bytes.
    var options = DHCPOptions(reservingBytes: bytes.count - Self.minimumLength, options: 24)
    try Self.readOptions(bytes.extracting(240..<bytes.count), into: &options)
    var overloaded: UInt8 = 0
    if let overload = options[.overload] {
      guard overload.count == 1, let value = overload.first, (1...3).contains(value) else { throw .overload }
      overloaded = value
    }
    // RFC 2131, section 4.1: "the options in the 'file' field MUST be processed next, followed by
    // the options in the 'sname' field".
    if overloaded & 1 != 0 { try Self.readOptions(bytes.extracting(108..<236), into: &options) }
    if overloaded & 2 != 0 { try Self.readOptions(bytes.extracting(44..<108), into: &options) }
    if let type = options[.messageType] {
      guard type.count == 1, let value = type.first else {
        throw .optionLength(.messageType, bytes: type.count)
      }
      guard DHCPMessageType(rawValue: value) != nil else { throw .unknownMessageType(value) }
    }

    self.init(
      operation: operation,
      hardware: HardwareAddress(
        type: bytes[1], length: bytes[2],
        upper: UInt64(bytes.bigEndian32(at: 28)) << 32 | UInt64(bytes.bigEndian32(at: 32)),
        lower: UInt64(bytes.bigEndian32(at: 36)) << 32 | UInt64(bytes.bigEndian32(at: 40))),
      hops: bytes[3],
      transaction: bytes.bigEndian32(at: 4),
      seconds: bytes.bigEndian16(at: 8),
      flags: bytes.bigEndian16(at: 10),
      clientAddress: IPv4Address(rawValue: bytes.bigEndian32(at: 12)),
      yourAddress: IPv4Address(rawValue: bytes.bigEndian32(at: 16)),
      nextServer: IPv4Address(rawValue: bytes.bigEndian32(at: 20)),
      relay: IPv4Address(rawValue: bytes.bigEndian32(at: 24)),
      serverName: overloaded & 2 != 0 ? [] : bytes.text(in: 44..<108),
      bootFile: overloaded & 1 != 0 ? [] : bytes.text(in: 108..<236),
      options: options)
  }

  /// Reads options up to END, or to the end of the field: some clients send no END.
  private static func readOptions(_ field: Span<UInt8>, into options: inout DHCPOptions) throws(DHCPParseError) {
    let start = options.take(field)
    var index = 0
    while index < field.count {
      let code = DHCPOptionCode(field[index])
      index += 1
      if code == .pad { continue }
      if code == .end { return }
      guard index < field.count else { throw .truncatedOption(code) }
      let count = Int(field[index])
      index += 1
      guard count <= field.count - index else { throw .truncatedOption(code) }
      options.append(code, at: start + index, count: count)
      index += count
    }
  }
}

extension Span<UInt8> {
  func bigEndian16(at index: Int) -> UInt16 {
    UInt16(self[index]) << 8 | UInt16(self[index + 1])
  }

  func bigEndian32(at index: Int) -> UInt32 {
    UInt32(bigEndian16(at: index)) << 16 | UInt32(bigEndian16(at: index + 2))
  }

  /// The bytes of a field up to its first zero.
  func text(in range: Range<Int>) -> [UInt8] {
    var end = range.lowerBound
    while end < range.upperBound, self[end] != 0 { end += 1 }
    guard end > range.lowerBound else { return [] }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(end - range.lowerBound)
    for index in range.lowerBound..<end { bytes.append(self[index]) }
    return bytes
  }
}
