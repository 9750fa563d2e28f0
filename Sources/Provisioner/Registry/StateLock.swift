import FoundationEssentials
import Glibc

/// The lock on a state directory: one process at a time writes the store.
///
/// The kernel gives it back when the process ends, however it ends, so a stale file never locks anyone out.
package struct StateLock: ~Copyable {
  private let descriptor: Int32

  /// - Parameters:
  ///   - path: The lock file; made where it is missing.
  ///   - purpose: What holds it, for the error message of who comes second: `perseid serve`.
  /// - Throws: `ApplianceError` with code `busy`, naming the holder.
  package init(path: String, purpose: String) throws {
    let opened = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
    guard opened >= 0 else {
      throw ApplianceError(
        .failed,
        "The lock \(path) cannot be opened: \(String(cString: strerror(errno))). "
          + "Run as the appliance's user, or as root.")
    }
    // A process that ends, or a child between fork and exec, may hold it for a moment longer.
    var tries = 25
    while flock(opened, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK || errno == EINTR, tries > 0 {
      tries -= 1
      usleep(20_000)
    }
    guard flock(opened, LOCK_EX | LOCK_NB) == 0 else {
      let reason = errno
      let holder = Self.contents(opened)
      Glibc.close(opened)
      guard reason == EWOULDBLOCK else {
        throw ApplianceError(.failed, "The lock \(path) cannot be taken: \(String(cString: strerror(reason))).")
      }
      throw ApplianceError(
        .busy,
        "Another process works on this state directory: \(holder.isEmpty ? "its name is not known" : holder) "
          + "(lock \(path)). Wait for it to end, or stop it; where it is the appliance, verbs reach it by themselves "
          + "once it answers on its control socket.")
    }
    descriptor = opened
    let text = Array("process \(getpid()) (\(purpose))".utf8)
    _ = ftruncate(descriptor, 0)
    _ = pwrite(descriptor, text, text.count, 0)
  }

  deinit {
    _ = ftruncate(descriptor, 0)
    Glibc.close(descriptor)
  }

  private static func contents(_ descriptor: Int32) -> String {
    var bytes = [UInt8](repeating: 0, count: 256)
    let count = pread(descriptor, &bytes, bytes.count, 0)
    return count > 0 ? String(decoding: bytes[..<count], as: UTF8.self) : ""
  }
}
