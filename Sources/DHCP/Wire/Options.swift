/// The options of a message in the order they came, as raw code and bytes; unknown ones too.
///
/// All bytes lie in one array and an option is a region of it, so that a message costs two
/// allocations however many options it has; and one bit for each code says whether it is there, since
/// most of what is asked for is not.
package struct DHCPOptions: Sendable {
  private struct Entry {
    var code: DHCPOptionCode
    var start: UInt16
    var count: UInt16
  }

  private var storage: [UInt8]
  private var entries: [Entry]
  private var present: InlineArray<4, UInt64> = [0, 0, 0, 0]

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
    guard contains(code) else { return nil }
    for entry in entries where entry.code == code {
      return storage[Int(entry.start)..<Int(entry.start) + Int(entry.count)]
    }
    return nil
  }

  package func contains(_ code: DHCPOptionCode) -> Bool {
    present[Int(code.rawValue >> 6)] & 1 << UInt64(code.rawValue & 63) != 0
  }

  private mutating func mark(_ code: DHCPOptionCode, isPresent: Bool) {
    let bit: UInt64 = 1 << UInt64(code.rawValue & 63)
    if isPresent {
      present[Int(code.rawValue >> 6)] |= bit
    } else {
      present[Int(code.rawValue >> 6)] &= ~bit
    }
  }

  /// Takes the bytes of a whole field in at once, so that options of it are regions and no copies.
  /// - Returns: Where it begins, for ``append(_:at:count:)``.
  mutating func take(_ field: Span<UInt8>) -> Int {
    let start = storage.count
    field.withUnsafeBufferPointer { storage.append(contentsOf: $0) }
    return start
  }

  /// Adds bytes taken in before to an option: RFC 3396, section 7: "the contents of the options are
  /// concatenated". A message is at most ``DHCPMessage/maximumLength`` bytes, so that regions fit 16 bits
  /// even where hostile fragments alternate and each has to be moved: beyond that they are dropped.
  mutating func append(_ code: DHCPOptionCode, at start: Int, count: Int) {
    guard start + count <= Int(UInt16.max) else { return }
    guard contains(code), let index = entries.firstIndex(where: { $0.code == code }) else {
      entries.append(Entry(code: code, start: UInt16(start), count: UInt16(count)))
      return mark(code, isPresent: true)
    }
    let entry = entries[index]
    guard storage.count + Int(entry.count) + count <= Int(UInt16.max) else { return }
    entries[index].start = UInt16(storage.count)
    entries[index].count += UInt16(count)
    storage.append(contentsOf: storage[Int(entry.start)..<Int(entry.start) + Int(entry.count)])
    storage.append(contentsOf: storage[start..<start + count])
  }

  /// Sets an option in place of what it was. At most 65,535 bytes of options fit one message; a
  /// longer value is a fault of the program.
  package mutating func set(_ code: DHCPOptionCode, _ bytes: [UInt8]) {
    remove(code)
    append(code, at: take(bytes.span), count: bytes.count)
  }

  package mutating func remove(_ code: DHCPOptionCode) {
    entries.removeAll { $0.code == code }
    mark(code, isPresent: false)
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
