package import Yams

/// One mapping of a file of settings: knows its keys, and where in the file they stand.
package struct YAMLSection {
  package let file: String
  /// Dotted, empty for the whole file.
  package let path: String
  private let values: [String: Yams.Node]
  private let keyLines: [String: Int]
  package let line: Int?

  /// - Parameter allowed: The keys that may be there; `nil` where the file gives them their names.
  /// - Parameter isName: Says which keys are allowed besides: names that people make.
  /// - Throws: `ConfigurationError` where the node is no mapping or has a key that is not `allowed`.
  package init(
    _ node: Yams.Node, file: String, path: String, allowed: [String]?, orNames isName: (String) -> Bool = { _ in false }
  ) throws {
    self.file = file
    self.path = path
    line = node.mark?.line
    guard case .mapping(let mapping) = node else {
      throw ConfigurationError(
        file: file, line: node.mark?.line, key: path.isEmpty ? nil : path,
        message: "found \(Self.describe(node)), allowed is \(Self.words(allowed)).")
    }
    var values: [String: Yams.Node] = [:]
    var keyLines: [String: Int] = [:]
    for (keyNode, value) in mapping {
      let key = keyNode.scalar?.string ?? Self.describe(keyNode)
      if let allowed, !allowed.contains(key), !isName(key) {
        throw ConfigurationError(
          file: file, line: keyNode.mark?.line, key: path.isEmpty ? key : "\(path).\(key)",
          message: "there is no such key; the keys here are \(allowed.joined(separator: ", ")).")
      }
      values[key] = value
      keyLines[key] = keyNode.mark?.line
    }
    self.values = values
    self.keyLines = keyLines
  }

  /// The keys that are there, in the order of the file.
  package var keys: [String] { keyLines.keys.sorted { (keyLines[$0] ?? 0, $0) < (keyLines[$1] ?? 0, $1) } }

  package func has(_ key: String) -> Bool { values[key] != nil }

  package func line(of key: String) -> Int? { values[key]?.mark?.line ?? keyLines[key] }

  package func error(_ key: String, _ message: String) -> ConfigurationError {
    ConfigurationError(file: file, line: line(of: key), key: name(key), message: message)
  }

  /// The mapping under a key, `nil` where the key is not there.
  package func section(
    _ key: String, allowed: [String]?, orNames isName: (String) -> Bool = { _ in false }
  ) throws -> YAMLSection? {
    guard let node = values[key] else { return nil }
    return try YAMLSection(node, file: file, path: name(key), allowed: allowed, orNames: isName)
  }

  package func sections(_ key: String, allowed: [String]) throws -> [YAMLSection] {
    guard let node = values[key] else { return [] }
    guard case .sequence(let sequence) = node else {
      throw error(
        key,
        "found \(Self.describe(node)), allowed is a list of mappings with the keys \(allowed.joined(separator: ", ")).")
    }
    return try sequence.enumerated().map { index, item in
      try YAMLSection(item, file: file, path: "\(name(key))[\(index)]", allowed: allowed)
    }
  }

  /// - Parameter allowed: What the value must be, in words: `a port from 1 to 65535`.
  package func value<Value>(_ key: String, allowed: String, _ parse: (String) -> Value?) throws -> Value? {
    guard let node = values[key] else { return nil }
    return try parseOne(node, key, allowed: allowed, parse)
  }

  /// One value, or a list of them.
  package func list<Value>(_ key: String, allowed: String, _ parse: (String) -> Value?) throws -> [Value]? {
    guard let node = values[key] else { return nil }
    guard case .sequence(let sequence) = node else { return [try parseOne(node, key, allowed: allowed, parse)] }
    return try sequence.map { try parseOne($0, key, allowed: allowed, parse) }
  }

  package func integer(_ key: String, _ range: ClosedRange<Int>, unit: String) throws -> Int? {
    try value(key, allowed: "\(unit) from \(range.lowerBound) to \(range.upperBound)") { text in
      Int(text).flatMap { range.contains($0) ? $0 : nil }
    }
  }

  package func bool(_ key: String) throws -> Bool? {
    try value(key, allowed: "true or false") { text in text == "true" ? true : text == "false" ? false : nil }
  }

  private func parseOne<Value>(
    _ node: Yams.Node, _ key: String, allowed: String, _ parse: (String) -> Value?
  ) throws -> Value {
    guard case .scalar(let scalar) = node, !scalar.string.isEmpty, let value = parse(scalar.string) else {
      throw ConfigurationError(
        file: file, line: node.mark?.line ?? keyLines[key], key: name(key),
        message: "found \(Self.describe(node)), allowed is \(allowed).")
    }
    return value
  }

  private func name(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

  private static func words(_ allowed: [String]?) -> String {
    allowed.map { "a mapping with the keys \($0.joined(separator: ", "))" } ?? "a mapping"
  }

  private static func describe(_ node: Yams.Node) -> String {
    switch node {
    case .scalar(let scalar): scalar.string.isEmpty ? "nothing" : "'\(scalar.string.prefix(200))'"
    case .mapping: "a mapping"
    case .sequence: "a list"
    case .alias: "an alias"
    }
  }
}
