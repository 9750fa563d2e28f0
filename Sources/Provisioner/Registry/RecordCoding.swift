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
  package static let facts = "facts/"
  /// What running nodes are to take over of another generation.
  package static let livesync = "livesync/"
  /// What people changed.
  package static let change = "change/"
  package static let lease = "lease/"
  /// What a card's firmware boots with where it is not what is usual.
  package static let strategy = "strategy/"
  package static let token = "token/"
  package static let module = "module/"
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
    var text: [UInt8] = []
    text.reserveCapacity(64)
    text += lease.state.rawValue.utf8
    text.append(tab)
    text += String(lease.expires).utf8
    text.append(tab)
    switch lease.holder {
    case .hardware(let mac):
      text.append(UInt8(ascii: "h"))
      text += mac.description.utf8
    case .identifier(let bytes):
      text.append(UInt8(ascii: "i"))
      for byte in bytes { text += [digit(byte >> 4), digit(byte & 0xF)] }
    }
    if let name = lease.hostName {
      text.append(tab)
      text += name.utf8
    }
    return Change(key: RecordKey.lease + lease.address.description, value: text, lease: lease)
  }

  /// `nil` where the value is none that was written here.
  package static func lease(key: String, value: [UInt8]) -> Lease? {
    guard let address = IPv4Address(String(decoding: key.utf8.dropFirst(RecordKey.lease.utf8.count), as: UTF8.self))
    else { return nil }
    return lease(of: address, value: value)
  }

  /// The same, where the address is known.
  static func lease(of address: IPv4Address, value: [UInt8]) -> Lease? {
    guard let first = value.firstIndex(of: tab), let second = value[(first + 1)...].firstIndex(of: tab),
      let state = state(value[..<first]), let expires = Int64(text(value[(first + 1)..<second]))
    else { return nil }
    let third = value[(second + 1)...].firstIndex(of: tab)
    let who = value[(second + 1)..<(third ?? value.endIndex)]
    let holder: LeaseHolder
    switch who.first {
    case UInt8(ascii: "h"):
      guard let mac = MACAddress(text(who.dropFirst())) else { return nil }
      holder = .hardware(mac)
    case UInt8(ascii: "i"):
      guard let bytes = bytes(who.dropFirst()) else { return nil }
      holder = .identifier(bytes)
    default: return nil
    }
    return Lease(
      address: address, holder: holder, state: state, expires: expires,
      hostName: third.map { text(value[($0 + 1)...]) })
  }

  private static func state(_ bytes: ArraySlice<UInt8>) -> Lease.State? {
    // Nearly every one: no text is made of it.
    bytes.elementsEqual("bound".utf8) ? .bound : Lease.State(rawValue: text(bytes))
  }

  private static let tab = UInt8(ascii: "\t")

  private static func text(_ bytes: ArraySlice<UInt8>) -> String {
    String(decoding: bytes, as: UTF8.self)
  }

  private static func digit(_ value: UInt8) -> UInt8 {
    value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
  }

  private static func bytes(_ digits: ArraySlice<UInt8>) -> [UInt8]? {
    guard digits.count.isMultiple(of: 2) else { return nil }
    var bytes: [UInt8] = []
    for index in stride(from: digits.startIndex, to: digits.endIndex, by: 2) {
      guard let byte = UInt8(text(digits[index...index + 1]), radix: 16) else { return nil }
      bytes.append(byte)
    }
    return bytes
  }
}
