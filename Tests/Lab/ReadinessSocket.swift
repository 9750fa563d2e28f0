import Foundation
import Glibc
import Synchronization

/// The receiving end of sd_notify(3): a datagram socket that a service writes `READY=1` to.
///
/// What is read goes into a `LineLog`, so readiness is waited for like any other line.
final class ReadinessSocket: Sendable {
  let path: String
  let log = LineLog()
  /// `nil` once it is closed.
  private let descriptor: Mutex<Int32?>

  /// - Parameter path: At most 107 bytes, which is all that the kernel takes.
  init(path: String) throws {
    self.path = path
    unlink(path)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let room = MemoryLayout.size(ofValue: address.sun_path)
    guard path.utf8.count < room else {
      throw LabError("\(path) is longer than the \(room - 1) bytes that a socket's path may have")
    }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    let bound = withUnsafePointer(to: address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard bound == 0 else {
      let reason = String(cString: strerror(errno))
      close(descriptor)
      throw LabError("cannot listen on \(path): \(reason)")
    }
    self.descriptor = Mutex(descriptor)
    Thread.detachNewThread { [self] in
      var buffer = [UInt8](repeating: 0, count: 4096)
      while true {
        let count = recv(descriptor, &buffer, buffer.count, 0)
        if count > 0 {
          log.append((buffer[..<count] + [UInt8(ascii: "\n")])[...])
        } else if count == 0 || errno != EINTR {
          break
        }
      }
      log.append(nil)
      self.descriptor.withLock {
        close(descriptor)
        $0 = nil
      }
    }
  }

  /// Ends the reading thread, which closes the socket.
  func stop() {
    descriptor.withLock { descriptor in
      if let descriptor { _ = shutdown(descriptor, Int32(SHUT_RD)) }
    }
    unlink(path)
  }
}
