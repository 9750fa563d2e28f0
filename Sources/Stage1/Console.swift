import Glibc
import StateClient

/// What a person in front of the machine sees: on every console the kernel uses, serial and screen.
///
/// For use by one thread.
package final class Console {
  private var descriptors: [CInt]
  private var isInProgressLine = false
  private var progressAt = 0.0

  /// Lines go to these descriptors, which stay open as long as the process.
  package init(descriptors: [CInt]) {
    self.descriptors = descriptors
  }

  /// Opens every console that the kernel names; standard error where it names none.
  package static func open() -> Console {
    let names = (SmallFile.text("/sys/class/tty/console/active") ?? "").split(separator: " ")
    let descriptors = names.compactMap { name -> CInt? in
      // Without O_NONBLOCK a serial port without a peer could hold process 1 for ever.
      let descriptor = Glibc.open("/dev/\(name)", O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)
      return descriptor >= 0 ? descriptor : nil
    }
    return Console(descriptors: descriptors.isEmpty ? [2] : descriptors)
  }

  package func close() {
    for descriptor in descriptors where descriptor > 2 { Glibc.close(descriptor) }
    descriptors = []
  }

  /// A line.
  package func say(_ line: String) {
    endProgress()
    put("perseid: \(line)\r\n")
  }

  /// A script's output as it comes.
  package func echo(_ bytes: UnsafeRawBufferPointer) {
    endProgress()
    var text = ""
    for scalar in String(decoding: bytes, as: UTF8.self).unicodeScalars {
      // Terminals are raw here, and a script must not be able to reprogram one.
      switch scalar.value {
      case 0x0A: text += "\r\n"
      case 0x09, 0x20...0x7E, 0xA0...: text.unicodeScalars.append(scalar)
      default: break
      }
    }
    put(text)
  }

  /// A bar on one line that is written over, at most about once a second.
  package func progress(_ label: String, done: Int64, total: Int64, bytesPerSecond: Double, isLast: Bool = false) {
    guard isLast || Clock.now - progressAt >= 0.9 else { return }
    progressAt = Clock.now
    put("\r" + Self.bar(label, done: done, total: total, bytesPerSecond: bytesPerSecond))
    isInProgressLine = true
    if isLast { endProgress() }
  }

  package static func bar(_ label: String, done: Int64, total: Int64, bytesPerSecond: Double) -> String {
    let part = total > 0 ? min(max(Double(done) / Double(total), 0), 1) : 0
    let width = 30
    let filled = Int(part * Double(width))
    let percent = String(Int(part * 100))
    return "perseid: \(label) [" + String(repeating: "#", count: filled)
      + String(repeating: ".", count: width - filled) + "] "
      + String(repeating: " ", count: 3 - percent.count) + "\(percent)% of \(total >> 20) MiB, "
      + "\(Int(bytesPerSecond / 1_048_576)) MiB/s   "
  }

  private func endProgress() {
    guard isInProgressLine else { return }
    isInProgressLine = false
    put("\r\n")
  }

  private func put(_ text: String) {
    let bytes = Array(text.utf8)
    for descriptor in descriptors {
      var done = 0
      var patience = 50
      while done < bytes.count {
        let count = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress.map { $0 + done }, bytes.count - done) }
        if count > 0 {
          done += count
          continue
        }
        // A console that takes nothing for half a second is left behind.
        guard count == -1, errno == EAGAIN || errno == EINTR, patience > 0 else { break }
        patience -= 1
        var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        poll(&entry, 1, 10)
      }
    }
  }
}
