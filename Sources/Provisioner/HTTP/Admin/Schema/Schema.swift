/// The shape of a JSON value: what the OpenAPI document says of it, and what a request's body is checked against.
indirect enum Schema: Hashable, Sendable {
  case text(Text)
  /// Bounds included.
  case integer(minimum: Int64?, maximum: Int64?)
  case number
  case bool
  case list(Schema)
  /// Any names, all with values of one shape.
  case map(Schema)
  /// The name is that of the Swift type, without its module.
  case object(name: String, [Property])
  case nullable(Schema)
  /// Any JSON at all: a document whose shape is written down elsewhere.
  case anything
  /// A type whose shape could not be found: a mistake in this program, which a test finds.
  case unknown(type: String)

  struct Text: Hashable, Sendable {
    /// Which kind of text, in words: `a hardware address such as 52:54:00:12:34:56`.
    var words = "text"
    /// A format that OpenAPI knows.
    var format: String?
    /// The only texts there are; empty for any.
    var choices: [String] = []
    var example: String?
  }

  struct Property: Hashable, Sendable {
    var name: String
    var schema: Schema
    var isRequired: Bool
  }
}

/// A type that is written as one text, and says which.
protocol TextValue {
  static var text: Schema.Text { get }
  /// Any value of the type: what holds it is looked at by reading one.
  static var sample: Self? { get }
}

extension Schema {
  /// As JSON Schema has it (2020-12, which OpenAPI 3.1 uses), with references to the shapes that have names.
  /// - Parameter isWhole: `true` writes an object out instead of a reference to it.
  func json(isWhole: Bool = false) -> JSONValue {
    switch self {
    case .text(let text):
      var json: [String: JSONValue] = ["type": "string"]
      if text.words != "text" { json["description"] = .text(text.words) }
      if let format = text.format { json["format"] = .text(format) }
      if !text.choices.isEmpty { json["enum"] = .list(text.choices.map(JSONValue.text)) }
      if let example = text.example { json["examples"] = [.text(example)] }
      return .object(json)
    case .integer(let minimum, let maximum):
      var json: [String: JSONValue] = ["type": "integer"]
      if let minimum { json["minimum"] = .integer(minimum) }
      if let maximum { json["maximum"] = .integer(maximum) }
      return .object(json)
    case .number: return ["type": "number"]
    case .bool: return ["type": "boolean"]
    case .list(let item): return ["type": "array", "items": item.json()]
    case .map(let value): return ["type": "object", "additionalProperties": value.json()]
    case .object(let name, let properties):
      guard isWhole else { return ["$ref": .text("#/components/schemas/" + name)] }
      var json: [String: JSONValue] = [
        "type": "object",
        "properties": .object(Dictionary(properties.map { ($0.name, $0.schema.json()) }) { first, _ in first }),
      ]
      let required = properties.filter(\.isRequired).map { JSONValue.text($0.name) }
      if !required.isEmpty { json["required"] = .list(required) }
      return .object(json)
    case .nullable(let schema): return ["anyOf": [schema.json(), ["type": "null"]]]
    case .anything, .unknown: return [:]
    }
  }

  /// The shapes with names that this one is made of, itself included.
  var named: [(name: String, schema: Schema)] {
    switch self {
    case .object(let name, let properties): [(name, self)] + properties.flatMap(\.schema.named)
    case .list(let inner), .map(let inner), .nullable(let inner): inner.named
    default: []
    }
  }

  /// Types inside whose shape could not be found.
  var unknownTypes: [String] {
    switch self {
    case .unknown(let type): [type]
    case .object(_, let properties): properties.flatMap(\.schema.unknownTypes)
    case .list(let inner), .map(let inner), .nullable(let inner): inner.unknownTypes
    default: []
    }
  }
}
