import CLinux
import DHCPWire
import Glibc
import NetworkTypes

/// The UDP sockets of one interface.
enum ServerSocket {
  /// Bytes that may wait while the server waits for its turn on the processor: the kernel counts more than
  /// 1 KiB for a message, and twice what is asked for, so that ten thousand clients that are switched on
  /// at once find room, and what waits longest still gets its answer within a second.
  private static let receiveBuffer: CInt = 8 << 20

  /// Opens a socket: bound to the interface and to every address on it, non-blocking.
  /// - Parameter port: 67, or 4011 for boot servers.
  /// - Returns: The descriptor, the caller's to close.
  static func open(interface: String, port: UInt16 = DHCPPort.server) throws(DHCPServerError) -> CInt {
    var step = clinux_dhcp_step_open
    let descriptor = clinux_dhcp_open(interface, port, receiveBuffer, &step)
    guard descriptor < 0 else { return descriptor }
    let error = errno
    if error == EADDRINUSE { throw .portInUse(port: port, interface: interface) }
    switch step {
    case clinux_dhcp_step_interface: throw failure("bind a UDP socket to the interface", interface, error)
    case clinux_dhcp_step_port: throw failure("listen on UDP port \(port)", interface, error)
    default: throw failure("open a UDP socket", interface, error)
    }
  }

  /// Keeps from the socket what the capture takes anyway: see ``Intake/received(datagram:sentTo:_:)``. A kernel that does
  /// not do that lets it come.
  static func leaveToCapture(_ descriptor: CInt, segmentBroadcast: IPv4Address) {
    clinux_dhcp_leave_to_capture(descriptor, segmentBroadcast.rawValue)
  }

  private static func failure(_ what: String, _ interface: String, _ error: CInt) -> DHCPServerError {
    switch error {
    case ENODEV: .noSuchInterface(interface)
    case EACCES, EPERM: .noPermission(what: what, interface: interface)
    default: .failed(what: what, interface: interface, why: String(cString: strerror(error)))
    }
  }
}

/// Sends datagrams one by one, from the server's own address, whatever other addresses the interface has:
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

/// Datagrams received or sent by one system call.
struct DatagramBatch: ~Copyable {
  static let capacity = 64
  private let batch: OpaquePointer

  /// - Parameter bytes: The most one datagram has; what comes longer is cut there.
  init(bytes: Int, interface: String) throws(DHCPServerError) {
    guard let batch = clinux_dhcp_batch_make(UInt32(Self.capacity), bytes) else {
      throw .failed(what: "get memory for datagrams", interface: interface, why: String(cString: strerror(ENOMEM)))
    }
    self.batch = batch
  }

  deinit {
    clinux_dhcp_batch_free(batch)
  }

  /// Hands over what waits, up to ``capacity`` datagrams, each with the address it was sent to.
  /// - Returns: Whether there may be more.
  func receive(from descriptor: CInt, _ body: (Span<UInt8>, IPv4Address) -> Void) -> Bool {
    // An error is a datagram's, never the socket's end: an ICMP message that comes back counts as one.
    let count = clinux_dhcp_batch_receive(batch, descriptor)
    for index in 0..<max(0, count) {
      var length = 0
      var destination: UInt32 = 0
      guard let bytes = clinux_dhcp_batch_received(batch, index, &length, &destination) else { continue }
      // The bytes stay until the batch is used again, and are read only here.
      body(Span(_unsafeStart: bytes, count: length), IPv4Address(rawValue: destination))
    }
    return count == Self.capacity
  }

  /// - Returns: `false` where there is no room.
  func add(_ bytes: Span<UInt8>, from source: IPv4Address, to destination: IPv4Address, port: UInt16) -> Bool {
    bytes.withUnsafeBufferPointer {
      clinux_dhcp_batch_add(batch, $0.baseAddress, $0.count, source.rawValue, destination.rawValue, port) == 0
    }
  }

  /// Sends what was added, in as few system calls as there are datagrams that the kernel does not take, and one.
  /// - Parameter refused: Called with the number of each datagram that the kernel did not take; its client asks again.
  func send(to descriptor: CInt, count: Int, refused: (Int) -> Void) {
    var index = 0
    while index < count {
      index += Int(clinux_dhcp_batch_send(batch, descriptor, CInt(index)))
      guard index < count else { break }
      refused(index)
      index += 1
    }
    clinux_dhcp_batch_clear(batch)
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

  /// The longest packet of an interface behind its Ethernet header, in bytes; `nil` where it cannot be told.
  static func mtu(of interface: String) -> Int? {
    let bytes = clinux_dhcp_mtu(interface)
    return bytes > 0 ? Int(bytes) : nil
  }

  /// Keeps from a packet socket what this machine sends itself, of which the kernel would make copies for it.
  static func ignoreOutgoing(_ descriptor: CInt) {
    clinux_dhcp_ignore_outgoing(descriptor)
  }
}
