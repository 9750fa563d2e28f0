/// Why bytes are not a DHCP message, or not one that can be used.
package enum DHCPParseError: Error, Hashable, Sendable {
  /// Fewer bytes than the fixed part of a message and the magic cookie.
  case tooShort(bytes: Int)
  /// More than ``DHCPMessage/maximumLength``.
  case tooLong(bytes: Int)
  /// `op` is neither BOOTREQUEST nor BOOTREPLY.
  case unknownOperation(UInt8)
  /// `hlen` says more than the 16 bytes of `chaddr`.
  case hardwareLength(UInt8)
  /// The options do not begin with 99.130.83.99 (RFC 2131, section 3).
  case missingCookie
  /// The length of an option reaches beyond the end of its field.
  case truncatedOption(DHCPOptionCode)
  /// Option 52 is not one byte from 1 to 3.
  case overload
  /// An option whose length its definition forbids.
  case optionLength(DHCPOptionCode, bytes: Int)
  /// Option 53 names no message.
  case unknownMessageType(UInt8)

  /// A short word, the same for all errors of one kind: for counters.
  package var kind: String {
    switch self {
    case .tooShort: "too-short"
    case .tooLong: "too-long"
    case .unknownOperation: "operation"
    case .hardwareLength: "hardware-length"
    case .missingCookie: "cookie"
    case .truncatedOption: "truncated-option"
    case .overload: "overload"
    case .optionLength: "option-length"
    case .unknownMessageType: "message-type"
    }
  }
}
