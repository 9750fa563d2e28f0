/// Why a transfer ends early, as ERROR packets say it (RFC 1350 section 5 and appendix, RFC 2347).
package struct ErrorCode: RawRepresentable, Hashable, Sendable {
  package let rawValue: UInt16

  package init(rawValue: UInt16) {
    self.rawValue = rawValue
  }

  /// Not defined: the text says it.
  package static let undefined = ErrorCode(rawValue: 0)
  package static let fileNotFound = ErrorCode(rawValue: 1)
  package static let accessViolation = ErrorCode(rawValue: 2)
  package static let diskFull = ErrorCode(rawValue: 3)
  package static let illegalOperation = ErrorCode(rawValue: 4)
  /// The packet came from a port that has no part in this transfer.
  package static let unknownTransfer = ErrorCode(rawValue: 5)
  package static let fileExists = ErrorCode(rawValue: 6)
  package static let noSuchUser = ErrorCode(rawValue: 7)
  /// The client will not go on with these options (RFC 2347): after a probe for the size, the usual end.
  package static let optionsRefused = ErrorCode(rawValue: 8)
}
