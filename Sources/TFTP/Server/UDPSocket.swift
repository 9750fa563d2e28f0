import CLinux
import Glibc
import NetworkTypes

/// A non-blocking UDP socket, closed when it is let go.
struct UDPSocket: ~Copyable, Sendable {
  let descriptor: Int32

  /// - Parameter port: 0: any free one.
  /// - Throws: The system's error number.
  init(address: IPv4Address, port: Int, tellsLocalAddress: Bool) throws(SystemError) {
    try self.init(
      adopting: clinux_tftp_socket(address.rawValue, UInt16(truncatingIfNeeded: port), tellsLocalAddress ? 1 : 0))
  }

  /// - Parameter result: A descriptor, or the negative of the system's error number.
  init(adopting result: Int32) throws(SystemError) {
    guard result >= 0 else { throw SystemError(number: -result) }
    descriptor = result
  }

  deinit {
    close(descriptor)
  }

  var port: Int {
    get throws(SystemError) {
      let port = clinux_tftp_port(descriptor)
      guard port >= 0 else { throw SystemError(number: -port) }
      return Int(port)
    }
  }
}

/// An error number of the system.
struct SystemError: Error, Hashable, CustomStringConvertible {
  let number: Int32

  var description: String { String(cString: strerror(number)) }
}
