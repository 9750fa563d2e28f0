import CLinux
import DHCPWire
import Glibc
import NetworkTypes

/// The client's UDP socket on port 68 of one interface, which may have no address yet.
struct ClientSocket: ~Copyable {
  private let descriptor: CInt
  private let interface: String
  private var buffer = [UInt8](repeating: 0, count: DHCPMessage.maximumLength + 1)

  /// How often, and after how many microseconds each, a port in use is tried again: a process that another thread is
  /// just starting has the sockets of this one until it executes its program, the one closed a moment ago too.
  private static let attempts = (count: 20, pause: UInt32(50_000))

  init(interface: String) throws(DHCPClientError) {
    self.interface = interface
    var step = clinux_dhcp_step_open
    var opened = clinux_dhcp_open(interface, DHCPPort.client, 256 << 10, &step)
    for _ in 1..<Self.attempts.count where opened < 0 && errno == EADDRINUSE {
      usleep(Self.attempts.pause)
      opened = clinux_dhcp_open(interface, DHCPPort.client, 256 << 10, &step)
    }
    descriptor = opened
    guard opened < 0 else { return }
    let error = errno
    if error == EADDRINUSE { throw .portInUse(interface: interface) }
    if error == ENODEV { throw .noSuchInterface(interface) }
    throw .failed(what: "open its UDP socket", interface: interface, why: String(cString: strerror(error)))
  }

  deinit {
    if descriptor >= 0 { close(descriptor) }
  }

  /// Sends to a server's port. What the kernel cannot send just now is as good as lost: it is sent again.
  func send(_ message: DHCPMessage, to address: IPv4Address) throws(DHCPClientError) {
    let bytes = message.serialized()
    guard
      clinux_dhcp_send(
        descriptor, bytes, bytes.count, message.clientAddress.rawValue, address.rawValue, DHCPPort.server) != 0
    else { return }
    let error = errno
    switch error {
    case EAGAIN, ENOBUFS, ENOMEM, EINTR, ENETUNREACH, EHOSTUNREACH, ENETDOWN, ECONNREFUSED:
      return
    default:
      throw .failed(
        what: "send to \(address)", interface: interface, why: String(cString: strerror(error)))
    }
  }

  /// Waits for a message until `deadline`, in milliseconds of ``DHCPClient/milliseconds()``.
  /// - Returns: `nil` when the time is over; what is no DHCP message is passed over.
  mutating func receive(until deadline: Int64) throws(DHCPClientError) -> DHCPMessage? {
    while true {
      let left = deadline - DHCPClient.milliseconds()
      guard left > 0 else { return nil }
      var state = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      let ready = poll(&state, 1, CInt(clamping: left))
      if ready < 0, errno != EINTR {
        throw .failed(what: "wait for a reply", interface: interface, why: String(cString: strerror(errno)))
      }
      guard ready > 0 else { continue }
      let count = recv(descriptor, &buffer, buffer.count, CInt(MSG_DONTWAIT))
      // An error here is one that came back for something sent, and says nothing about what comes next.
      guard count > 0 else { continue }
      if let message = try? DHCPMessage(parsing: buffer.span.extracting(0..<count)) { return message }
    }
  }
}
