import Glibc
import NetworkTypes

/// A connected TCP socket on which every wait is bounded.
struct TCPStream: ~Copyable {
  enum Failure: Error {
    case timeout
    case system(SystemError)
  }

  private let file: OpenFile

  /// - Parameter seconds: For the connection to be made.
  static func connected(to server: Endpoint, within seconds: Double) throws(Failure) -> TCPStream {
    let descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
    guard descriptor >= 0 else { throw .system(SystemError("make a socket")) }
    let stream = TCPStream(file: OpenFile(owning: descriptor))
    var one: CInt = 1
    setsockopt(descriptor, CInt(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<CInt>.size))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = server.port.bigEndian
    address.sin_addr.s_addr = server.address.rawValue.bigEndian
    let result = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
        connect(descriptor, pointer, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    if result == 0 { return stream }
    guard errno == EINPROGRESS || errno == EINTR else { throw .system(SystemError("connect to \(server)")) }
    try Self.wait(for: CInt(POLLOUT), on: descriptor, within: seconds)
    var code: CInt = 0
    var length = socklen_t(MemoryLayout<CInt>.size)
    getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &length)
    if code != 0 { throw .system(SystemError("connect to \(server)", code: code)) }
    return stream
  }

  /// Waits until the socket can be read or written.
  private static func wait(for events: CInt, on descriptor: CInt, within seconds: Double) throws(Failure) {
    let deadline = Clock.now + seconds
    while true {
      let rest = deadline - Clock.now
      guard rest > 0 else { throw .timeout }
      var entry = pollfd(fd: descriptor, events: Int16(events), revents: 0)
      let result = poll(&entry, 1, CInt(min(rest * 1000 + 1, 3_600_000)))
      if result > 0 { return }
      if result == -1 && errno != EINTR { throw .system(SystemError("wait for the network")) }
    }
  }

  /// Sends everything.
  /// - Parameter seconds: For each wait until more can be sent.
  borrowing func send(_ bytes: [UInt8], within seconds: Double) throws(Failure) {
    var done = 0
    while done < bytes.count {
      let result = bytes.withUnsafeBytes { buffer in
        Glibc.send(file.descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done, CInt(MSG_NOSIGNAL))
      }
      if result >= 0 {
        done += result
      } else if errno == EAGAIN {
        try Self.wait(for: CInt(POLLOUT), on: file.descriptor, within: seconds)
      } else if errno != EINTR {
        throw .system(SystemError("send"))
      }
    }
  }

  /// Receives what is there, waiting for the first byte.
  /// - Returns: Bytes; 0 at the end of the stream.
  borrowing func receive(into buffer: UnsafeMutableRawBufferPointer, within seconds: Double) throws(Failure) -> Int {
    while true {
      let result = recv(file.descriptor, buffer.baseAddress, buffer.count, 0)
      if result >= 0 { return result }
      if errno == EAGAIN {
        try Self.wait(for: CInt(POLLIN), on: file.descriptor, within: seconds)
      } else if errno != EINTR {
        throw .system(SystemError("receive"))
      }
    }
  }
}
