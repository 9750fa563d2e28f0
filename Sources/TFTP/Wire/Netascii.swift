/// Text as RFC 1350 sends it in netascii mode (RFC 764): a line ends with CR LF, a CR by itself is CR NUL.
package enum Netascii {
  /// - Returns: The bytes to send; at most twice as many.
  package static func encode(_ text: some Collection<UInt8>) -> [UInt8] {
    var encoded: [UInt8] = []
    encoded.reserveCapacity(text.count + text.count / 16)
    for byte in text {
      switch byte {
      case 0x0A: encoded += [0x0D, 0x0A]
      case 0x0D: encoded += [0x0D, 0x00]
      default: encoded.append(byte)
      }
    }
    return encoded
  }

  /// - Returns: The text; a CR before anything else than LF or NUL stays as it is.
  package static func decode(_ encoded: some Collection<UInt8>) -> [UInt8] {
    var text: [UInt8] = []
    text.reserveCapacity(encoded.count)
    var afterReturn = false
    for byte in encoded {
      if afterReturn, byte == 0x0A || byte == 0x00 {
        text[text.count - 1] = byte == 0x0A ? 0x0A : 0x0D
        afterReturn = false
      } else {
        text.append(byte)
        afterReturn = byte == 0x0D
      }
    }
    return text
  }
}
