import Glibc

/// Tells the service manager (sd_notify, systemd's protocol) where the client stands.
package enum ServiceManager {
  /// Does nothing where no service manager asked to be told.
  package static func notify(_ text: String) {
    guard let value = getenv("NOTIFY_SOCKET") else { return }
    let name = Array(String(cString: value).utf8)
    var address = sockaddr_un()
    guard let first = name.first, name.count < MemoryLayout.size(ofValue: address.sun_path) else { return }
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { place in
      place.copyBytes(from: name)
      // `@` stands for the abstract name space.
      if first == UInt8(ascii: "@") { place[0] = 0 }
    }
    let descriptor = socket(AF_UNIX, CInt(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { return }
    let file = OpenFile(owning: descriptor)
    let length = socklen_t(MemoryLayout<sa_family_t>.size + name.count)
    let bytes = Array(text.utf8)
    _ = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
        sendto(file.descriptor, bytes, bytes.count, CInt(MSG_NOSIGNAL), pointer, length)
      }
    }
  }
}
