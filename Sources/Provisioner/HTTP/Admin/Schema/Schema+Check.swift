extension Schema {
  /// Looks whether a value has this shape: types, names that there are none of, names that are missing.
  ///
  /// What a text means is not looked at: whoever reads it says what is wrong with it.
  /// - Parameters:
  ///   - place: Where the value stands, for the message: `nodes[2].mac`.
  ///   - mayHaveMore: Whether names that are not in the shape pass, as a newer appliance may answer with.
  /// - Throws: `ApplianceError` with code `invalid`: the place, what was found and what is allowed.
  func check(_ value: JSONValue, at place: String = "", mayHaveMore: Bool = false) throws {
    switch (self, value) {
    case (.nullable, .null), (.anything, _), (.bool, .bool), (.number, .number), (.number, .integer): return
    case (.nullable(let schema), _): try schema.check(value, at: place, mayHaveMore: mayHaveMore)
    case (.text(let text), .text(let found)):
      guard text.choices.isEmpty || text.choices.contains(found) else { throw mismatch(value, place) }
    case (.integer(let minimum, let maximum), .integer(let found)):
      guard found >= minimum ?? .min, found <= maximum ?? .max else { throw mismatch(value, place) }
    case (.list(let item), .list(let values)):
      for (index, value) in values.enumerated() {
        try item.check(value, at: "\(place)[\(index)]", mayHaveMore: mayHaveMore)
      }
    case (.map(let schema), .object(let values)):
      for (name, value) in values {
        try schema.check(value, at: Self.place(place, Self.quoted(name)), mayHaveMore: mayHaveMore)
      }
    case (.object(_, let properties), .object(let values)):
      if !mayHaveMore,
        let extra = values.keys.sorted().first(where: { name in !properties.contains { $0.name == name } })
      {
        let names = properties.map(\.name).sorted().joined(separator: ", ")
        throw ApplianceError(
          .invalid, "\(Self.place(place, Self.quoted(extra))): there is no such field; the fields here are \(names).")
      }
      for property in properties {
        let inside = Self.place(place, property.name)
        guard let value = values[property.name], value != .null || property.isRequired else {
          if !property.isRequired { continue }
          throw ApplianceError(.invalid, "\(inside): missing; it must be \(property.schema.words).")
        }
        try property.schema.check(value, at: inside, mayHaveMore: mayHaveMore)
      }
    default: throw mismatch(value, place)
    }
  }

  private func mismatch(_ value: JSONValue, _ place: String) -> ApplianceError {
    ApplianceError(
      .invalid, "\(place.isEmpty ? "The body" : place): found \(value.words), where it must be \(words).")
  }

  /// What is allowed, for a sentence.
  var words: String {
    switch self {
    case .text(let text): text.choices.isEmpty ? text.words : "one of \(text.choices.joined(separator: ", "))"
    case .integer(let minimum?, let maximum?): "a whole number from \(minimum) to \(maximum)"
    case .integer(let minimum?, nil): "a whole number, at least \(minimum)"
    case .integer: "a whole number"
    case .number: "a number"
    case .bool: "true or false"
    case .list(let item): "a list, each of its items \(item.words)"
    case .map(let value): "an object, each of its values \(value.words)"
    case .object(_, let properties):
      "an object with \(properties.map { $0.name + ($0.isRequired ? "" : "?") }.joined(separator: ", "))"
    case .nullable(let schema): schema.words + ", or null"
    case .anything, .unknown: "any JSON"
    }
  }

  private static func place(_ place: String, _ name: String) -> String { place.isEmpty ? name : place + "." + name }

  /// A name from outside, short and on one line.
  private static func quoted(_ name: String) -> String { "'" + printable(name, 64) + "'" }
}

extension JSONValue {
  /// What it is, for a sentence.
  fileprivate var words: String {
    switch self {
    case .null: "null"
    case .bool(let bool): "\(bool)"
    case .integer(let number): "\(number)"
    case .number(let number): "\(number)"
    case .text(let text): "'\(printable(text, 64))'"
    case .list: "a list"
    case .object: "an object"
    }
  }
}

/// Text from outside as it may stand in a message: bounded, without control characters.
func printable(_ text: String, _ limit: Int) -> String {
  let scalars = text.unicodeScalars.prefix(limit).map { scalar -> Unicode.Scalar in
    scalar.value < 32 || (127...159).contains(scalar.value) ? "?" : scalar
  }
  return String(String.UnicodeScalarView(scalars)) + (text.unicodeScalars.count > limit ? "..." : "")
}
