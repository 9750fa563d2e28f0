import CapsuleFormat
import NetworkTypes

extension Schema {
  /// The shape that a type is read and written in, found by reading one of it: so that it can never say something
  /// else than the type's own coding.
  init<Value: Decodable>(_ type: Value.Type) {
    self = (try? Self.find(type).schema) ?? .unknown(type: Self.name(of: type))
  }

  fileprivate static func find<Value: Decodable>(_ type: Value.Type) throws -> (schema: Schema, sample: Value) {
    if let text = type as? any TextValue.Type, let sample = text.sample as? Value { return (.text(text.text), sample) }
    if type == JSONValue.self, let sample = JSONValue.null as? Value { return (.anything, sample) }
    if let choice = type as? any (CaseIterable & RawRepresentable).Type, let found = choices(choice),
      let sample = found.first as? Value
    {
      return (.text(Text(choices: found.texts)), sample)
    }
    let sketch = Sketch()
    let sample = try Value(from: SketchDecoder(sketch: sketch))
    return (sketch.schema(name: name(of: type)), sample)
  }

  private static func choices<Choice: CaseIterable & RawRepresentable>(
    _ type: Choice.Type
  ) -> (texts: [String], first: Any)? {
    let texts = Choice.allCases.compactMap { $0.rawValue as? String }
    guard let first = Choice.allCases.first, texts.count == Choice.allCases.count else { return nil }
    return (texts, first)
  }

  /// `NodeView`, `WhyView.Heard`: as the type is called in its module.
  private static func name(of type: Any.Type) -> String {
    let name = String(reflecting: type)
    return name.firstIndex(of: ".").map { String(name[name.index(after: $0)...]) } ?? name
  }
}

/// What is known so far of a type that is being read.
private final class Sketch {
  var properties: [Schema.Property] = []
  var isObject = false
  var map: Schema?
  var item: Schema?
  var value: Schema?
  var isNullable = false

  func schema(name: String) -> Schema {
    let schema: Schema =
      if let map { .map(map) } else if let item { .list(item) } else if let value { value } else if isObject {
        .object(name: name, properties)
      } else {
        .unknown(type: name)
      }
    return isNullable ? .nullable(schema) : schema
  }

  func add(_ name: String, _ schema: Schema, isRequired: Bool) {
    guard !properties.contains(where: { $0.name == name }) else { return }
    properties.append(Schema.Property(name: name, schema: schema, isRequired: isRequired))
  }
}

/// Answers whoever decodes with samples, and takes down what was asked for.
private struct SketchDecoder: Decoder {
  let sketch: Sketch
  var codingPath: [any CodingKey] { [] }
  var userInfo: [CodingUserInfoKey: Any] { [:] }

  func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedDecodingContainer<Key> {
    sketch.isObject = true
    return KeyedDecodingContainer(Fields<Key>(sketch: sketch))
  }

  func unkeyedContainer() -> any UnkeyedDecodingContainer { Items(sketch: sketch) }

  func singleValueContainer() -> any SingleValueDecodingContainer { OneValue(sketch: sketch) }
}

private struct Fields<Key: CodingKey>: KeyedDecodingContainerProtocol {
  let sketch: Sketch
  var codingPath: [any CodingKey] { [] }

  /// Only a dictionary asks which names there are.
  var allKeys: [Key] {
    sketch.map = .anything
    return [Key(stringValue: "name")].compactMap { $0 }
  }

  func contains(_ key: Key) -> Bool { true }

  func decodeNil(forKey key: Key) -> Bool { false }

  func decode<Value: Decodable>(_ type: Value.Type, forKey key: Key) throws -> Value {
    try take(type, key, isRequired: true)
  }

  func decodeIfPresent<Value: Decodable>(_ type: Value.Type, forKey key: Key) throws -> Value? {
    try take(type, key, isRequired: false)
  }

  func decodeIfPresent(_ type: Bool.Type, forKey key: Key) throws -> Bool? { try perhaps(type, key) }
  func decodeIfPresent(_ type: String.Type, forKey key: Key) throws -> String? { try perhaps(type, key) }
  func decodeIfPresent(_ type: Double.Type, forKey key: Key) throws -> Double? { try perhaps(type, key) }
  func decodeIfPresent(_ type: Float.Type, forKey key: Key) throws -> Float? { try perhaps(type, key) }
  func decodeIfPresent(_ type: Int.Type, forKey key: Key) throws -> Int? { try perhaps(type, key) }
  func decodeIfPresent(_ type: Int8.Type, forKey key: Key) throws -> Int8? { try perhaps(type, key) }
  func decodeIfPresent(_ type: Int16.Type, forKey key: Key) throws -> Int16? { try perhaps(type, key) }
  func decodeIfPresent(_ type: Int32.Type, forKey key: Key) throws -> Int32? { try perhaps(type, key) }
  func decodeIfPresent(_ type: Int64.Type, forKey key: Key) throws -> Int64? { try perhaps(type, key) }
  func decodeIfPresent(_ type: UInt.Type, forKey key: Key) throws -> UInt? { try perhaps(type, key) }
  func decodeIfPresent(_ type: UInt8.Type, forKey key: Key) throws -> UInt8? { try perhaps(type, key) }
  func decodeIfPresent(_ type: UInt16.Type, forKey key: Key) throws -> UInt16? { try perhaps(type, key) }
  func decodeIfPresent(_ type: UInt32.Type, forKey key: Key) throws -> UInt32? { try perhaps(type, key) }
  func decodeIfPresent(_ type: UInt64.Type, forKey key: Key) throws -> UInt64? { try perhaps(type, key) }

  private func perhaps<Value: Decodable>(_ type: Value.Type, _ key: Key) throws -> Value? {
    try take(type, key, isRequired: false)
  }

  private func take<Value: Decodable>(_ type: Value.Type, _ key: Key, isRequired: Bool) throws -> Value {
    let found = try Schema.find(type)
    if sketch.map != nil {
      sketch.map = found.schema
    } else {
      sketch.add(key.stringValue, found.schema, isRequired: isRequired)
    }
    return found.sample
  }

  func nestedContainer<Nested: CodingKey>(
    keyedBy type: Nested.Type, forKey key: Key
  ) throws -> KeyedDecodingContainer<Nested> { throw Unsketched() }

  func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer { throw Unsketched() }

  func superDecoder() throws -> any Decoder { throw Unsketched() }

  func superDecoder(forKey key: Key) throws -> any Decoder { throw Unsketched() }
}

/// A type that reads itself in a way that is not followed here.
private struct Unsketched: Error {}

private struct Items: UnkeyedDecodingContainer {
  let sketch: Sketch
  var codingPath: [any CodingKey] { [] }
  var count: Int? { 1 }
  var isAtEnd: Bool { currentIndex > 0 }
  private(set) var currentIndex = 0

  init(sketch: Sketch) { self.sketch = sketch }

  mutating func decodeNil() -> Bool { false }

  mutating func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
    let found = try Schema.find(type)
    sketch.item = found.schema
    currentIndex += 1
    return found.sample
  }

  mutating func nestedContainer<Nested: CodingKey>(
    keyedBy type: Nested.Type
  ) throws -> KeyedDecodingContainer<Nested> { throw Unsketched() }

  mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer { throw Unsketched() }

  mutating func superDecoder() throws -> any Decoder { throw Unsketched() }
}

private struct OneValue: SingleValueDecodingContainer {
  let sketch: Sketch
  var codingPath: [any CodingKey] { [] }

  func decodeNil() -> Bool {
    sketch.isNullable = true
    return false
  }

  func decode(_ type: Bool.Type) -> Bool { note(.bool, false) }
  func decode(_ type: String.Type) -> String { note(.text(Schema.Text()), "") }
  func decode(_ type: Double.Type) -> Double { note(.number, 0) }
  func decode(_ type: Float.Type) -> Float { note(.number, 0) }
  func decode(_ type: Int.Type) -> Int { note(.integer(minimum: nil, maximum: nil), 0) }
  func decode(_ type: Int8.Type) -> Int8 { whole(type) }
  func decode(_ type: Int16.Type) -> Int16 { whole(type) }
  func decode(_ type: Int32.Type) -> Int32 { whole(type) }
  func decode(_ type: Int64.Type) -> Int64 { note(.integer(minimum: nil, maximum: nil), 0) }
  func decode(_ type: UInt.Type) -> UInt { note(.integer(minimum: 0, maximum: nil), 0) }
  func decode(_ type: UInt8.Type) -> UInt8 { whole(type) }
  func decode(_ type: UInt16.Type) -> UInt16 { whole(type) }
  func decode(_ type: UInt32.Type) -> UInt32 { whole(type) }
  func decode(_ type: UInt64.Type) -> UInt64 { note(.integer(minimum: 0, maximum: nil), 0) }

  func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
    let found = try Schema.find(type)
    return note(found.schema, found.sample)
  }

  private func note<Value>(_ schema: Schema, _ sample: Value) -> Value {
    sketch.value = schema
    return sample
  }

  private func whole<Value: FixedWidthInteger>(_ type: Value.Type) -> Value {
    note(.integer(minimum: Int64(Value.min), maximum: Int64(clamping: Value.max)), 0)
  }
}

extension MACAddress: TextValue {
  static var text: Schema.Text {
    Schema.Text(words: "a hardware address such as 52:54:00:12:34:56", example: "52:54:00:12:34:56")
  }

  static var sample: MACAddress? { MACAddress(rawValue: 0x5254_0012_3456) }
}

extension IPv4Address: TextValue {
  static var text: Schema.Text {
    Schema.Text(words: "an IPv4 address such as 10.0.0.21", format: "ipv4", example: "10.0.0.21")
  }

  static var sample: IPv4Address? { IPv4Address(10, 0, 0, 21) }
}

extension IPv4Range: TextValue {
  static var text: Schema.Text {
    Schema.Text(words: "a range of IPv4 addresses such as 10.0.1.1-10.0.200.254", example: "10.0.1.1-10.0.200.254")
  }

  static var sample: IPv4Range? { IPv4Range(IPv4Address(10, 0, 1, 1), IPv4Address(10, 0, 200, 254)) }
}

extension IPv4Subnet: TextValue {
  static var text: Schema.Text {
    Schema.Text(words: "an IPv4 network such as 10.0.0.0/16", example: "10.0.0.0/16")
  }

  static var sample: IPv4Subnet? { IPv4Subnet(containing: IPv4Address(10, 0, 0, 0), prefixLength: 16) }
}

extension Timestamp: TextValue {
  static var text: Schema.Text {
    Schema.Text(
      words: "a time as RFC 3339 has it, such as 2026-01-31T09:15:00.250Z", format: "date-time",
      example: "2026-01-31T09:15:00.250Z")
  }

  static var sample: Timestamp? { Timestamp(milliseconds: 0) }
}

extension Digest: TextValue {
  static var text: Schema.Text { Schema.Text(words: "a digest: sha256: and 64 hexadecimal digits") }

  static var sample: Digest? { Digest(bytes: [UInt8](repeating: 0, count: 32)) }
}
