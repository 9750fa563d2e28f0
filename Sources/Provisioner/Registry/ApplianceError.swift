/// Why the appliance says no, in words for the person who asked.
package struct ApplianceError: Error, Hashable, Sendable, CustomStringConvertible {
  package enum Code: String, Hashable, Sendable, Codable {
    /// No node, group or capsule of this name.
    case notFound
    /// It exists already, or belongs to another.
    case conflict
    /// What was asked cannot be meant: a key or a value that there is none of. A verb then ends as for wrong usage.
    case invalid
    /// Possible, but not as things are: still in use, for one.
    case refused
    /// Someone else holds the lock.
    case busy
    /// The disk or the system did not do it.
    case failed
  }

  package var code: Code
  package var message: String

  package init(_ code: Code, _ message: String) {
    self.code = code
    self.message = message
  }

  package var description: String { message }
}
