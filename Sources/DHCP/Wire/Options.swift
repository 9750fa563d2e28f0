/// The options of a message in the order they came, as raw code and bytes; unknown ones too.
///
/// All bytes lie in one array and an option is a region of it, so that a message costs two
/// allocations however many options it has.
package struct DHCPOptions: Sendable {
  private struct Entry {
    var code: DHCPOptionCode
    var start: UInt16
    var count: UInt16
  }

  private var storage: [UInt8]
  private var entries: [Entry]

  package init() {
    storage = []
    entries = []
  }

  package init(reservingBytes bytes: Int, options: Int) {
    storage = []
    storage.reserveCapacity(bytes)
    entries = []
    entries.reserveCapacity(options)
  }

  package var isEmpty: Bool { entries.isEmpty }
  package var count: Int { entries.count }
  package var codes: [DHCPOptionCode] { entries.map(\.code) }

  /// The bytes of an option behind its code and length; `nil` where it is absent.
  package subscript(code: DHCPOptionCode) -> ArraySlice<UInt8>? {
    for entry in entries where entry.code == code {
      return storage[Int(entry.start)..<Int(entry.start) + Int(entry.count)]
    }
    return nil
  }

  package func contains(_ code: DHCPOptionCode) -> Bool {
    entries.contains { $0.code == code }
  }

  /// Adds bytes to an option: RFC 3396, section 7: "the contents of the options are concatenated".
  /// A message is at most ``DHCPMessage/maximumLength`` bytes, so that regions fit 16 bits even where
  /// hostile fragments alternate and each has to be moved: beyond that they are dropped.
  mutating func append(_ code: DHCPOptionCode, _ bytes: Span<UInt8>) {
    if let index = entries.firstIndex(where: { $0.code == code }) {
      let entry = entries[index]
      let end = Int(entry.start) + Int(entry.count)
      if end != storage.count {
        guard storage.count + Int(entry.count) + bytes.count <= Int(UInt16.max) else { return }
        let moved = storage[Int(entry.start)..<end]
        entries[index].start = UInt16(storage.count)
        storage.append(contentsOf: moved)
      }
      guard storage.count + bytes.count <= Int(UInt16.max) else { return }
      entries[index].count += UInt16(bytes.count)
    } else {
      guard storage.count + bytes.count <= Int(UInt16.max) else { return }
      entries.append(Entry(code: code, start: UInt16(storage.count), count: UInt16(bytes.count)))
    }
    for index in bytes.indices { storage.append(bytes[index]) }
  }

  /// Sets an option in place of what it was. At most 65,535 bytes of options fit one message; a
  /// longer value is a fault of the program.
  package mutating func set(_ code: DHCPOptionCode, _ bytes: [UInt8]) {
    entries.removeAll { $0.code == code }
    append(code, bytes.span)
  }

  package mutating func remove(_ code: DHCPOptionCode) {
    entries.removeAll { $0.code == code }
  }

  /// Calls `body` for each option in order.
  package func forEach(_ body: (DHCPOptionCode, ArraySlice<UInt8>) -> Void) {
    for entry in entries {
      body(entry.code, storage[Int(entry.start)..<Int(entry.start) + Int(entry.count)])
    }
  }
}

extension DHCPOptions: Equatable {
  /// Equal where the same options have the same bytes in the same order.
  package static func == (left: DHCPOptions, right: DHCPOptions) -> Bool {
    guard left.entries.count == right.entries.count else { return false }
    return zip(left.entries, right.entries).allSatisfy { pair in
      pair.0.code == pair.1.code && left[pair.0.code] == right[pair.1.code]
    }
  }
}
