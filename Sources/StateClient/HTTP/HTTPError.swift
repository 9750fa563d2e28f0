/// A request that did not get the answer it needed.
package struct HTTPError: Error, Hashable, Sendable, CustomStringConvertible {
  package enum Kind: Hashable, Sendable {
    /// No connection.
    case connect
    /// Nothing came, or not all, in the time given.
    case timeout
    /// The connection ended in the middle.
    case closed
    /// Not HTTP/1.1 as it is read here, or more than is read.
    case malformed
    /// An answer with another status than the one wanted.
    case status(Int)
  }

  package var kind: Kind
  /// `GET http://10.0.0.1:9870/blobs/...`
  package var request: String
  package var expected: String
  package var came: String

  package init(_ kind: Kind, request: String, expected: String, came: String) {
    self.kind = kind
    self.request = request
    self.expected = expected
    self.came = came
  }

  package var description: String { "\(request): expected \(expected), got \(came)" }
}
