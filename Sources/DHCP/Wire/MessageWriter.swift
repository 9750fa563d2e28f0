package import NetworkTypes

/// Writes one message.
///
/// The order is kept by the caller's calls: the fixed part and option 53 first, then options, the most
/// needed first, since the last may find no room; and ``finish(echoing:minimumLength:)`` puts the relay
/// agent's option last, END and the padding.
package struct DHCPMessageWriter: ~Copyable {
  package private(set) var bytes: [UInt8]
  private let start: Int
  private let limit: Int
  /// Options that did not fit the client's maximum message size.
  package private(set) var dropped: [DHCPOptionCode] = []
  private let mayOverload: Bool
  private static var usualLength: Int { 600 }
  /// `file` and `sname` as room for options (RFC 2132, section 9.3), in the order in which they are
  /// read, with the bit of option 52 that says so.
  private var overloaded: InlineArray<2, OverloadedField> = [
    OverloadedField(bit: 1, offset: 108, count: 128), OverloadedField(bit: 2, offset: 44, count: 64),
  ]

  private struct OverloadedField {
    var bit: UInt8
    var offset: Int
    var count: Int
    var used = 0
  }

  /// Begins a message.
  /// - Parameters:
  ///   - room: So many zero bytes come in front of it, for headers.
  ///   - message: Its fixed part is written; its options are not.
  ///   - type: Option 53, written first (some old clients look nowhere else); `nil` for BOOTP.
  ///   - maximumLength: Bytes of the whole message, 300 at least; 548 where the client said nothing.
  ///   - mayOverload: Whether options that do not fit go into `file` and `sname`. They never do where one
  ///     of these has its own content: firmware that reads a boot file there knows no other way; nor in BOOTP.
  package init(
    behind room: Int = 0, fixedPartOf message: borrowing DHCPMessage, type: DHCPMessageType?, maximumLength: Int,
    mayOverload: Bool = true
  ) {
    self.mayOverload = mayOverload && type != nil && message.bootFile.isEmpty && message.serverName.isEmpty
    start = room
    limit = room + max(DHCPMessage.minimumReplyLength, maximumLength)
    // Most replies are no longer than that, and move nowhere while they are written.
    bytes = Array(unsafeUninitializedCapacity: room + Self.usualLength) { memory, count in
      count = room + DHCPMessage.minimumLength
      memory[..<count].initialize(repeating: 0)
    }
    bytes[start] = message.operation.rawValue
    bytes[start + 1] = message.hardware.type
    bytes[start + 2] = message.hardware.length
    bytes[start + 3] = message.hops
    bytes.put(UInt64(message.transaction) << 32 | UInt64(message.seconds) << 16 | UInt64(message.flags), at: start + 4)
    bytes.put(UInt64(message.clientAddress.rawValue) << 32 | UInt64(message.yourAddress.rawValue), at: start + 12)
    bytes.put(UInt64(message.nextServer.rawValue) << 32 | UInt64(message.relay.rawValue), at: start + 20)
    bytes.put(message.hardware.upper, at: start + 28)
    bytes.put(message.hardware.lower, at: start + 36)
    bytes.putField(message.serverName, at: start + 44, count: 64)
    bytes.putField(message.bootFile, at: start + 108, count: 128)
    bytes.put(DHCPMessage.cookie, at: start + 236)
    if let type { add(.messageType, byte: type.rawValue) }
  }

  /// Keeps what was appended from `mark` on where it fits; else it moves into `file` or `sname`; else
  /// it is noted and left out.
  private mutating func settle(from mark: Int, _ code: DHCPOptionCode) {
    // END comes behind it, and option 52 where fields are or may yet be overloaded.
    if bytes.count + 1 + (mayOverload ? 3 : 0) <= limit { return }
    let option = bytes[mark...]
    bytes.removeSubrange(mark...)
    for field in overloaded.indices where mayOverload {
      // The field ends with an END of its own.
      guard overloaded[field].used + option.count + 1 <= overloaded[field].count else { continue }
      let place = start + overloaded[field].offset + overloaded[field].used
      bytes.replaceSubrange(place..<place + option.count, with: option)
      overloaded[field].used += option.count
      return
    }
    dropped.append(code)
  }

  package mutating func add(_ code: DHCPOptionCode, byte: UInt8) {
    let mark = bytes.count
    bytes.append(code.rawValue)
    bytes.append(1)
    bytes.append(byte)
    settle(from: mark, code)
  }

  package mutating func add(_ code: DHCPOptionCode, _ value: UInt16) {
    let mark = bytes.count
    bytes.append(code.rawValue)
    bytes.append(2)
    bytes.appendBigEndian(value)
    settle(from: mark, code)
  }

  package mutating func add(_ code: DHCPOptionCode, _ value: UInt32) {
    let mark = bytes.count
    bytes.append(code.rawValue)
    bytes.append(4)
    bytes.appendBigEndian(value)
    settle(from: mark, code)
  }

  package mutating func add(_ code: DHCPOptionCode, _ address: IPv4Address) {
    add(code, address.rawValue)
  }

  /// Adds a list of addresses; nothing for an empty list.
  package mutating func add(_ code: DHCPOptionCode, _ addresses: [IPv4Address]) {
    let addresses = addresses.prefix(63)
    guard !addresses.isEmpty else { return }
    let mark = bytes.count
    bytes.append(code.rawValue)
    bytes.append(UInt8(4 * addresses.count))
    for address in addresses { bytes.appendBigEndian(address.rawValue) }
    settle(from: mark, code)
  }

  /// Adds bytes, in pieces of 255 where there are more (RFC 3396, section 6).
  /// - Parameter terminated: Puts a zero byte behind them, inside the option.
  package mutating func add(
    _ code: DHCPOptionCode, bytes value: some Collection<UInt8>, terminated: Bool = false
  ) {
    // Texts and arrays are copied by the piece; anything else becomes an array first.
    let isDone: Void? = value.withContiguousStorageIfAvailable { add(code, $0, terminated) }
    if isDone == nil { Array(value).withUnsafeBufferPointer { add(code, $0, terminated) } }
  }

  private mutating func add(_ code: DHCPOptionCode, _ value: UnsafeBufferPointer<UInt8>, _ terminated: Bool) {
    let mark = bytes.count
    var left = value.count + (terminated ? 1 : 0)
    var index = 0
    repeat {
      let piece = min(left, 255)
      bytes.append(code.rawValue)
      bytes.append(UInt8(piece))
      let end = min(index + piece, value.count)
      bytes.append(contentsOf: UnsafeBufferPointer(rebasing: value[index..<end]))
      left -= piece
      if terminated, left == 0 { bytes.append(0) }
      index = end
    } while left > 0
    settle(from: mark, code)
  }

  /// Ends the message and hands the array back.
  ///
  /// - Parameter relayAgentInformation: Option 82 as it came: the last option (RFC 3046, section
  ///   2.1), never left out, since the relay agent needs it to send the reply on.
  package consuming func finish(
    echoing relayAgentInformation: ArraySlice<UInt8>? = nil, minimumLength: Int = DHCPMessage.minimumReplyLength
  ) -> [UInt8] {
    var overload: UInt8 = 0
    for index in overloaded.indices where overloaded[index].used > 0 {
      overload |= overloaded[index].bit
      bytes[start + overloaded[index].offset + overloaded[index].used] = DHCPOptionCode.end.rawValue
    }
    if overload != 0 { bytes.append(contentsOf: [DHCPOptionCode.overload.rawValue, 1, overload]) }
    if let relayAgentInformation {
      var rest = relayAgentInformation
      repeat {
        let piece = rest.prefix(255)
        bytes.append(DHCPOptionCode.relayAgentInformation.rawValue)
        bytes.append(UInt8(piece.count))
        bytes.append(contentsOf: piece)
        rest = rest.dropFirst(255)
      } while !rest.isEmpty
    }
    bytes.append(DHCPOptionCode.end.rawValue)
    let missing = minimumLength - (bytes.count - start)
    if missing > 0 { bytes.append(contentsOf: repeatElement(0, count: missing)) }
    return bytes
  }
}

extension DHCPMessage {
  /// The whole message, option 53 first and 82 last. For clients and tests; the server writes its
  /// replies piece by piece.
  package func serialized(minimumLength: Int = Self.minimumReplyLength) -> [UInt8] {
    var writer = DHCPMessageWriter(
      fixedPartOf: self, type: messageType, maximumLength: Self.maximumLength)
    var relayed: ArraySlice<UInt8>?
    for code in options.codes {
      guard let value = options[code], code != .messageType, code != .overload else { continue }
      if code == .relayAgentInformation {
        relayed = value
      } else {
        writer.add(code, bytes: value)
      }
    }
    return writer.finish(echoing: relayed, minimumLength: minimumLength)
  }
}

extension [UInt8] {
  /// Writes a number over the bytes from `index` on, in network order.
  mutating func put(_ value: some FixedWidthInteger, at index: Int) {
    precondition(index >= 0 && index + value.bitWidth / 8 <= count, "a number beyond the end")
    withUnsafeMutableBytes { $0.storeBytes(of: value.bigEndian, toByteOffset: index, as: type(of: value)) }
  }

  mutating func appendBigEndian(_ value: some FixedWidthInteger) {
    Swift.withUnsafeBytes(of: value.bigEndian) { append(contentsOf: $0) }
  }

  /// Writes a field of fixed length over zeros: the value, cut where it is too long; the last byte stays zero always.
  fileprivate mutating func putField(_ value: [UInt8], at index: Int, count: Int) {
    let value = value.prefix(count - 1)
    guard !value.isEmpty else { return }
    replaceSubrange(index..<index + value.count, with: value)
  }
}
