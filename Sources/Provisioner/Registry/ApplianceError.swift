/// Why the appliance says no, in words for the person who asked.
package struct ApplianceError: Error, Hashable, Sendable, CustomStringConvertible {
  package enum Code: String, Hashable, Sendable, Codable, CaseIterable {
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
    /// The admin API: a body that is larger than what is read.
    case tooLarge
    /// The admin API: no token, or none that is known.
    case unauthorized
    /// The admin API: a token whose role does not allow it.
    case forbidden
    /// The admin API: another method than those of this path.
    case notAllowed
    /// The admin API: too many at a time.
    case tooMany
  }

  package var code: Code
  package var message: String

  package init(_ code: Code, _ message: String) {
    self.code = code
    self.message = message
  }

  package var description: String { message }
}
