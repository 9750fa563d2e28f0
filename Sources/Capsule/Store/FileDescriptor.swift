import CLinux

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// An open file, closed when its owner lets go of it.
struct FileDescriptor: ~Copyable {
  let number: Int32

  init(owning number: Int32) {
    self.number = number
  }

  deinit {
    close(number)
  }

  /// Opens a file, close-on-exec.
  ///
  /// - Returns: `nil` with `errno` set.
  static func open(_ path: String, _ flags: Int32, mode: mode_t = 0) -> FileDescriptor? {
    while true {
      #if canImport(Glibc)
        let number = Glibc.open(path, flags | O_CLOEXEC, mode)
      #else
        let number = Musl.open(path, flags | O_CLOEXEC, mode)
      #endif
      if number >= 0 { return FileDescriptor(owning: number) }
      if errno != EINTR { return nil }
    }
  }

  /// A new file without a name, so that nothing is left of it however the process ends.
  static func unnamed(in directory: String) throws(CapsuleError) -> FileDescriptor {
    let path = "\(directory)/blob-spool-\(getpid())-\(UInt64.random(in: 0...UInt64.max))"
    guard let file = open(path, O_RDWR | O_CREAT | O_EXCL, mode: 0o600) else { throw .writing(path, errno: errno) }
    unlink(path)
    return file
  }

  /// Reads until the buffer is full or the file ends.
  ///
  /// - Returns: The bytes read; `nil` with `errno` set.
  borrowing func fill(_ buffer: UnsafeMutableRawBufferPointer) -> Int? {
    var filled = 0
    while filled < buffer.count {
      let count = read(number, buffer.baseAddress.map { $0 + filled }, buffer.count - filled)
      if count > 0 {
        filled += count
      } else if count == 0 {
        break
      } else if errno != EINTR {
        return nil
      }
    }
    return filled
  }

  /// Reads at `offset` until the buffer is full or the file ends.
  ///
  /// - Returns: The bytes read; `nil` with `errno` set.
  borrowing func fill(_ buffer: UnsafeMutableRawBufferPointer, at offset: Int64) -> Int? {
    var filled = 0
    while filled < buffer.count {
      let count = pread(
        number, buffer.baseAddress.map { $0 + filled }, buffer.count - filled, off_t(offset) + off_t(filled))
      if count > 0 {
        filled += count
      } else if count == 0 {
        break
      } else if errno != EINTR {
        return nil
      }
    }
    return filled
  }

  /// Writes the whole of `bytes`, at the file's position or at `offset`.
  ///
  /// - Returns: Whether that succeeded; `errno` is set where not.
  borrowing func writeAll(_ bytes: UnsafeRawBufferPointer, at offset: Int64? = nil) -> Bool {
    var written = 0
    while written < bytes.count {
      let start = bytes.baseAddress.map { $0 + written }
      let count =
        offset.map { pwrite(number, start, bytes.count - written, off_t($0) + off_t(written)) }
        ?? write(number, start, bytes.count - written)
      if count >= 0 {
        written += count
      } else if errno != EINTR {
        return false
      }
    }
    return true
  }

  /// Copies `count` bytes at `offset` into another file, in the kernel where it can: by sharing the blocks where the
  /// file system does that.
  ///
  /// - Returns: Whether that succeeded; `errno` is set where not, to 0 where this file is too short.
  borrowing func copy(at offset: Int64, count: Int, to file: Int32, at target: Int64) -> Bool {
    var copied = 0
    while copied < count {
      let length = clinux_copy_range(
        number, offset + Int64(copied), file, target + Int64(copied), min(count - copied, 1 << 30))
      if length > 0 {
        copied += length
      } else if length == 0 {
        errno = 0
        return false
      } else if errno != EINTR {
        guard [EXDEV, EINVAL, ENOSYS, EOPNOTSUPP].contains(errno) else { return false }
        return copyByHand(
          at: offset + Int64(copied), count: count - copied, to: file, at: target + Int64(copied))
      }
    }
    return true
  }

  private borrowing func copyByHand(at offset: Int64, count: Int, to file: Int32, at target: Int64) -> Bool {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 4096)
    defer { buffer.deallocate() }
    var copied = 0
    while copied < count {
      let piece = UnsafeMutableRawBufferPointer(rebasing: buffer[..<min(buffer.count, count - copied)])
      guard let filled = fill(piece, at: offset + Int64(copied)) else { return false }
      guard filled == piece.count else {
        errno = 0
        return false
      }
      var written = 0
      while written < filled {
        let length = pwrite(
          file, piece.baseAddress.map { $0 + written }, filled - written, off_t(target) + off_t(copied + written))
        if length < 0 && errno != EINTR { return false }
        written += max(0, length)
      }
      copied += filled
    }
    return true
  }
}
