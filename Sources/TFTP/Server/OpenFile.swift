import CLinux
import Glibc

/// A regular file that someone may rename, rewrite or cut short at any time, read through its descriptor: what happens
/// to its name is no concern of those who read it, and what happens to its bytes is found out before any are sent.
///
/// It is read, not mapped: reading a page of a mapped file that was cut short ends the process.
package final class OpenFile: Sendable {
  /// Two descriptors with the same of these read the same bytes.
  package struct Identity: Hashable, Sendable {
    private let numbers: clinux_tftp_file

    init(_ numbers: clinux_tftp_file) {
      self.numbers = numbers
    }

    var size: Int { Int(numbers.size) }

    // Not the time of its status, which changes with the names that it has.
    private var values: [Int64] {
      [numbers.size, Int64(bitPattern: numbers.device), Int64(bitPattern: numbers.inode), numbers.modified]
    }

    package static func == (left: Identity, right: Identity) -> Bool { left.values == right.values }
    package func hash(into hasher: inout Hasher) { hasher.combine(values) }
  }

  private let descriptor: Int32
  package let identity: Identity

  /// Takes the descriptor over, and closes it in any case.
  /// - Returns: `nil` where it is no regular file.
  package init?(descriptor: Int32) {
    var numbers = clinux_tftp_file()
    guard clinux_tftp_file_status(descriptor, &numbers) == 0 else {
      close(descriptor)
      return nil
    }
    self.descriptor = descriptor
    identity = Identity(numbers)
  }

  deinit {
    close(descriptor)
  }

  /// Bytes, when it was opened.
  package var size: Int { identity.size }

  /// Reads `count` bytes.
  /// - Returns: Whether they are bytes of the file as it was opened: not where it was written to, or cut short, since.
  func read(_ count: Int, at offset: Int, into buffer: UnsafeMutableRawPointer) -> Bool {
    var done = 0
    while done < count {
      let result = pread(descriptor, buffer + done, count - done, off_t(offset + done))
      if result < 0, errno == EINTR { continue }
      guard result > 0 else { return false }
      done += result
    }
    // After reading: what was written before shows in the times now.
    var numbers = clinux_tftp_file()
    return clinux_tftp_file_status(descriptor, &numbers) == 0 && Identity(numbers) == identity
  }
}

/// A file is not what it was when the transfer began: half of it old and half of it new would be neither.
struct FileChanged: Error, CustomStringConvertible {
  let description = "the file was changed while it was being sent; ask again"
}
