package import DHCP
import FoundationEssentials
import NetworkTypes

/// The keys of the store, and how values are written under them.
package enum RecordKey {
  package static let node = "node/"
  package static let group = "group/"
  package static let capsule = "capsule/"
  package static let boot = "boot/"
  package static let status = "status/"
  package static let lease = "lease/"
  /// What a card's firmware boots with where it is not what is usual.
  package static let strategy = "strategy/"
  /// Whose card this is. Written with the node, so that two nodes never get one card, whoever writes.
  package static let mac = "mac/"
  /// Whose fixed address this is, for the same reason.
  package static let address = "address/"
  /// Whose client identifier this is, in hexadecimal digits, and whose GUID: for the same reason.
  package static let clientIdentifier = "clientid/"
  package static let guid = "guid/"
}

extension Change {
  static func put(_ key: String, _ value: some Encodable) throws -> Change {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return Change(key: key, value: [UInt8](try encoder.encode(value)))
  }

  static func put(_ key: String, text: String) -> Change {
    Change(key: key, value: Array(text.utf8))
  }

  static func delete(_ key: String) -> Change {
    Change(key: key, value: nil)
  }
}

func decodeRecord<Value: Decodable>(_ type: Value.Type, _ bytes: [UInt8]) throws -> Value {
  try JSONDecoder().decode(type, from: Data(bytes))
}

/// Leases are written thousands of times a second: one short line instead of JSON.
///
/// `bound TAB 1790000000 TAB h52:54:00:12:34:56 TAB name`, or `i` and the client identifier in hexadecimal.
package enum LeaseCoding {
  package static func change(_ lease: Lease) -> Change {
    let holder =
      switch lease.holder {
      case .hardware(let mac): "h\(mac)"
      case .identifier(let bytes): "i" + bytes.map(hexadecimal).joined()
      }
    var text = "\(lease.state.rawValue)\t\(lease.expires)\t\(holder)"
    if let name = lease.hostName { text += "\t\(name)" }
    return .put(RecordKey.lease + lease.address.description, text: text)
  }

  /// `nil` where the value is none that was written here.
  package static func lease(key: String, value: [UInt8]) -> Lease? {
    guard let address = IPv4Address(String(key.dropFirst(RecordKey.lease.count))) else { return nil }
    let parts = String(decoding: value, as: UTF8.self)
      .split(separator: "\t", maxSplits: 3, omittingEmptySubsequences: false).map(String.init)
    guard parts.count >= 3, let state = Lease.State(rawValue: parts[0]), let expires = Int64(parts[1]) else {
      return nil
    }
    let holder: LeaseHolder
    switch parts[2].first {
    case "h":
      guard let mac = MACAddress(String(parts[2].dropFirst())) else { return nil }
      holder = .hardware(mac)
    case "i":
      guard let bytes = bytes(String(parts[2].dropFirst())) else { return nil }
      holder = .identifier(bytes)
    default: return nil
    }
    return Lease(
      address: address, holder: holder, state: state, expires: expires, hostName: parts.count > 3 ? parts[3] : nil)
  }

  private static func hexadecimal(_ byte: UInt8) -> String {
    let text = String(byte, radix: 16)
    return text.count == 1 ? "0" + text : text
  }

  private static func bytes(_ text: String) -> [UInt8]? {
    let digits = Array(text.utf8)
    guard digits.count.isMultiple(of: 2) else { return nil }
    var bytes: [UInt8] = []
    for index in stride(from: 0, to: digits.count, by: 2) {
      guard let byte = UInt8(String(decoding: digits[index...index + 1], as: UTF8.self), radix: 16) else { return nil }
      bytes.append(byte)
    }
    return bytes
  }
}
