/// What is wrong with the configuration: where, what was found, what is allowed.
package struct ConfigurationError: Error, Hashable, Sendable, CustomStringConvertible {
  package var file: String
  /// From 1 on; `nil` where the whole file is meant.
  package var line: Int?
  /// Dotted: `dhcp.pool`; `nil` where the file is no YAML.
  package var key: String?
  package var message: String

  package init(file: String, line: Int?, key: String?, message: String) {
    self.file = file
    self.line = line
    self.key = key
    self.message = message
  }

  package var description: String {
    let place = line.map { "\(file), line \($0)" } ?? file
    return key.map { "\(place): \($0): \(message)" } ?? "\(place): \(message)"
  }
}
