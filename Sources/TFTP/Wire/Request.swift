/// A request to read (RRQ) or to write (WRQ) a file: RFC 1350 section 5, with the options of RFC 2347.
package struct Request: Hashable, Sendable {
  package enum Operation: UInt16, Sendable {
    case read = 1
    case write = 2
  }

  package enum Mode: String, Sendable {
    case octet
    case netascii
  }

  /// One option as it came: the name may be in either case.
  package struct Option: Hashable, Sendable {
    package var name: [UInt8]
    package var value: [UInt8]

    package init(name: [UInt8], value: [UInt8]) {
      self.name = name
      self.value = value
    }
  }

  package var operation: Operation
  /// The file's name, any bytes but NUL.
  package var name: [UInt8]
  package var mode: Mode
  /// In the order in which they came, unknown and doubled ones too.
  package var options: [Option]

  package init(operation: Operation, name: [UInt8], mode: Mode, options: [Option] = []) {
    self.operation = operation
    self.name = name
    self.mode = mode
    self.options = options
  }

  /// RFC 2347: "The maximum size of a request packet is 512 octets."
  package static let maximumSize = 512
  /// More options than any client sends; the rest of a request with more is not read.
  static let maximumOptions = 32

  /// What is wrong with a request.
  package enum Malformation: Error, Hashable {
    case tooLong(Int)
    case notARequest
    case noName
    /// A text without its NUL: bytes may be missing, and a number cut short is another number.
    case unterminated
    case unknownMode
  }

  /// - Parameter bytes: A whole datagram.
  package init(parsing bytes: UnsafeRawBufferPointer) throws(Malformation) {
    guard bytes.count <= Self.maximumSize else { throw .tooLong(bytes.count) }
    guard bytes.count >= 2, let operation = Operation(rawValue: UInt16(bytes[0]) << 8 | UInt16(bytes[1])) else {
      throw .notARequest
    }
    var texts = TextReader(bytes: bytes, index: 2)
    self.operation = operation
    name = try texts.next()
    guard !name.isEmpty else { throw .noName }
    // RFC 1350: the mode is "in netascii", in "any combination of upper and lower case".
    switch lowercased(try texts.next()) {
    case Array("octet".utf8): mode = .octet
    case Array("netascii".utf8): mode = .netascii
    default: throw .unknownMode
    }
    options = []
    while !texts.isAtEnd, options.count < Self.maximumOptions {
      let name = try texts.next()
      // Some clients fill the packet up with NULs: an option without a name ends the list.
      guard !name.isEmpty else { break }
      options.append(Option(name: name, value: try texts.next()))
    }
  }

  package init(parsing bytes: [UInt8]) throws(Malformation) {
    // A closure cannot hand the typed error through withUnsafeBytes on every toolchain.
    let result: Result<Request, Malformation> = bytes.withUnsafeBytes { buffer in
      do throws(Malformation) { return .success(try Request(parsing: buffer)) } catch { return .failure(error) }
    }
    self = try result.get()
  }

  /// The packet.
  package var bytes: [UInt8] {
    var packet: [UInt8] = [0, UInt8(operation.rawValue)]
    packet += name + [0] + Array(mode.rawValue.utf8) + [0]
    for option in options { packet += option.name + [0] + option.value + [0] }
    return packet
  }
}

/// Reads texts that each end with a NUL.
private struct TextReader {
  let bytes: UnsafeRawBufferPointer
  var index: Int

  var isAtEnd: Bool { index >= bytes.count }

  mutating func next() throws(Request.Malformation) -> [UInt8] {
    let rest = bytes[min(index, bytes.count)...]
    guard let end = rest.firstIndex(of: 0) else { throw .unterminated }
    index = end + 1
    return Array(rest[..<end])
  }
}

/// The text with A to Z as a to z, everything else unchanged.
func lowercased(_ text: some Sequence<UInt8>) -> [UInt8] {
  text.map { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) ? $0 | 0x20 : $0 }
}

extension Request.Malformation: CustomStringConvertible {
  /// For the ERROR packet, and so for a person at the machine's console.
  package var description: String {
    switch self {
    case .tooLong(let count): "request of \(count) bytes is longer than \(Request.maximumSize)"
    case .notARequest: "not a request"
    case .noName: "request names no file"
    case .unterminated: "request ends without its NUL"
    case .unknownMode: "transfer mode is neither octet nor netascii"
    }
  }
}
