import FoundationEssentials

/// The messages' JSON (RFC 8259): read only under a size, written with sorted keys so that equal
/// values are equal bytes and have equal digests.
package enum ProtocolJSON {
  /// Why a message was not read.
  package enum Failure: Error, Hashable, Sendable, CustomStringConvertible {
    /// More bytes than the message may have.
    case tooLarge(bytes: Int, limit: Int)
    /// Not the JSON of this message; the text says where.
    case malformed(String)

    package var description: String {
      switch self {
      case .tooLarge(let bytes, let limit): "it has \(bytes) bytes, where at most \(limit) are read"
      case .malformed(let reason): "it is not the JSON expected: \(reason)"
      }
    }
  }

  /// Unknown fields are ignored.
  /// - Parameter limit: Bytes; the length is looked at before anything is parsed.
  package static func decode<Message: Decodable>(
    _ type: Message.Type = Message.self, from bytes: [UInt8], limit: Int
  ) throws(Failure) -> Message {
    guard bytes.count <= limit else { throw .tooLarge(bytes: bytes.count, limit: limit) }
    do {
      return try JSONDecoder().decode(type, from: Data(bytes))
    } catch let error as DecodingError {
      throw .malformed(Self.describe(error))
    } catch {
      throw .malformed("\(error)")
    }
  }

  /// Sorted keys, no white space, slashes as they are.
  package static func encode(_ message: some Encodable) throws(Failure) -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    do {
      return Array(try encoder.encode(message))
    } catch {
      throw .malformed("\(error)")
    }
  }

  private static func describe(_ error: DecodingError) -> String {
    func place(_ path: [any CodingKey]) -> String {
      path.isEmpty
        ? "at the top"
        : "at "
          + path.map { key in key.intValue.map(String.init) ?? key.stringValue }.joined(separator: ".")
    }
    switch error {
    case .keyNotFound(let key, let context):
      return "'\(key.stringValue)' is missing \(place(context.codingPath))"
    case .typeMismatch(let type, let context):
      return "\(place(context.codingPath)) a \(type) was expected"
    case .valueNotFound(let type, let context):
      return "\(place(context.codingPath)) a \(type) was expected, null was there"
    case .dataCorrupted(let context):
      return "\(context.debugDescription) (\(place(context.codingPath)))"
    @unknown default:
      return "\(error)"
    }
  }
}

extension StateReport {
  package static func decode(_ bytes: [UInt8]) throws(ProtocolJSON.Failure) -> StateReport {
    try ProtocolJSON.decode(from: bytes, limit: sizeLimit)
  }
}

extension EventReport {
  package static func decode(_ bytes: [UInt8]) throws(ProtocolJSON.Failure) -> EventReport {
    try ProtocolJSON.decode(from: bytes, limit: sizeLimit)
  }
}

extension Plan {
  package static func decode(_ bytes: [UInt8]) throws(ProtocolJSON.Failure) -> Plan {
    try ProtocolJSON.decode(from: bytes, limit: sizeLimit)
  }
}
