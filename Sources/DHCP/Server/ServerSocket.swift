import CLinux
import DHCPWire
import Glibc
import NetworkTypes

/// The UDP sockets of one interface.
enum ServerSocket {
  /// Opens a socket: bound to the interface and to every address on it, non-blocking.
  /// - Parameter port: 67, or 4011 for boot servers.
  /// - Returns: The descriptor, the caller's to close.
  static func open(interface: String, port: UInt16 = DHCPPort.server) throws(DHCPServerError) -> CInt {
    var step = clinux_dhcp_step_open
    // A burst of clients fits into 4 MiB while the server waits for its turn on the processor.
    let descriptor = clinux_dhcp_open(interface, port, 4 << 20, &step)
    guard descriptor < 0 else { return descriptor }
    let error = errno
    if error == EADDRINUSE { throw .portInUse(port: port, interface: interface) }
    switch step {
    case clinux_dhcp_step_interface: throw failure("bind a UDP socket to the interface", interface, error)
    case clinux_dhcp_step_port: throw failure("listen on UDP port \(port)", interface, error)
    default: throw failure("open a UDP socket", interface, error)
    }
  }

  private static func failure(_ what: String, _ interface: String, _ error: CInt) -> DHCPServerError {
    switch error {
    case ENODEV: .noSuchInterface(interface)
    case EACCES, EPERM: .noPermission(what: what, interface: interface)
    default: .failed(what: what, interface: interface, why: String(cString: strerror(error)))
    }
  }
}

/// Sends datagrams from the server's own address, whatever other addresses the interface has:
/// clients and relay agents drop replies from an address they do not know.
final class DatagramSender: Sendable {
  private let descriptor: CInt
  private let source: IPv4Address

  /// - Parameter descriptor: A bound socket; a duplicate of it is kept.
  init(duplicating descriptor: CInt, source: IPv4Address) {
    self.descriptor = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
    self.source = source
  }

  deinit {
    if descriptor >= 0 { close(descriptor) }
  }

  /// - Returns: Whether the kernel took it; a full queue drops it, and the client asks again.
  func send(_ bytes: Span<UInt8>, to destination: IPv4Address, port: UInt16) -> Bool {
    bytes.withUnsafeBufferPointer {
      clinux_dhcp_send(descriptor, $0.baseAddress, $0.count, source.rawValue, destination.rawValue, port) == 0
    }
  }
}

enum Interface {
  /// The Ethernet address of an interface.
  static func hardwareAddress(of interface: String) throws(DHCPServerError) -> MACAddress {
    var bytes: [UInt8] = [0, 0, 0, 0, 0, 0]
    switch clinux_dhcp_hardware_address(interface, &bytes) {
    case 0: break
    case -2: throw .notEthernet(interface)
    default:
      let error = errno
      if error == ENODEV { throw .noSuchInterface(interface) }
      throw .failed(what: "read its hardware address", interface: interface, why: String(cString: strerror(error)))
    }
    guard let address = MACAddress(bytes: bytes) else { throw .notEthernet(interface) }
    return address
  }
}
