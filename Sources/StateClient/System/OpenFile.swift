package import Glibc

/// A file descriptor that is closed with its owner.
package struct OpenFile: ~Copyable {
  package let descriptor: CInt

  /// Takes over an open descriptor.
  package init(owning descriptor: CInt) {
    self.descriptor = descriptor
  }

  /// - Parameter flags: O_CLOEXEC is added.
  package init(_ path: String, flags: CInt, mode: mode_t = 0) throws(SystemError) {
    descriptor = try check("open \(path)") { open(path, flags | O_CLOEXEC, mode) }
  }

  /// Gives the descriptor away: whoever takes it closes it.
  package consuming func release() -> CInt {
    let descriptor = descriptor
    discard self
    return descriptor
  }

  deinit {
    close(descriptor)
  }

  /// Writes the first bytes of an array.
  package borrowing func write(_ bytes: [UInt8], count: Int, to name: String) throws(SystemError) {
    try bytes.withUnsafeBufferPointer { (buffer) throws(SystemError) in
      try write(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[..<count]), to: name)
    }
  }

  /// Writes every byte.
  package borrowing func write(_ bytes: UnsafeRawBufferPointer, to name: String) throws(SystemError) {
    var done = 0
    while done < bytes.count {
      let rest = UnsafeRawBufferPointer(rebasing: bytes[done...])
      done += try check("write \(name)") { Glibc.write(descriptor, rest.baseAddress, rest.count) }
    }
  }
}

/// Small files, whole.
package enum SmallFile {
  /// - Parameter limit: Bytes; a longer file is an error (EFBIG).
  package static func read(_ path: String, limit: Int = 1 << 20) throws(SystemError) -> [UInt8] {
    let file = try OpenFile(path, flags: O_RDONLY)
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: min(limit + 1, 8 << 10))
    while true {
      let count = try check("read \(path)") { Glibc.read(file.descriptor, &chunk, chunk.count) }
      if count == 0 { return bytes }
      guard bytes.count + count <= limit else { throw SystemError("read \(path) (limit \(limit) bytes)", code: EFBIG) }
      bytes.append(contentsOf: chunk[..<count])
    }
  }

  /// The text of a file of the kernel's, without the white space at its end; `nil` where it cannot be read.
  package static func text(_ path: String) -> String? {
    guard let bytes = try? read(path) else { return nil }
    let end = bytes.lastIndex { $0 != 0x0A && $0 != 0x20 && $0 != 0 } ?? -1
    return String(decoding: bytes[..<(end + 1)], as: UTF8.self)
  }

  /// Replaces a file as a whole: whoever reads it finds the old or the new one.
  package static func write(_ path: String, _ bytes: [UInt8], mode: mode_t = 0o644) throws(SystemError) {
    let new = path + ".new"
    unlink(new)
    do {
      let file = try OpenFile(new, flags: O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: mode)
      do {
        try file.write(bytes, count: bytes.count, to: new)
        try check("set the mode of \(new)") { fchmod(file.descriptor, mode) }
      }
    }
    try check("rename \(new)") { rename(new, path) }
  }

  /// Makes a directory and those above it; one that is there stays as it is.
  package static func makeDirectories(_ path: String, mode: mode_t = 0o755) throws(SystemError) {
    var sofar = ""
    for part in path.split(separator: "/") {
      sofar += (sofar.isEmpty && !path.hasPrefix("/") ? "" : "/") + part
      if mkdir(sofar, mode) == -1 && errno != EEXIST { throw SystemError("make the directory \(sofar)") }
    }
  }

  /// Names in a directory, without `.` and `..`, sorted; empty where there is none.
  package static func names(in path: String) -> [String] {
    guard let directory = opendir(path) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  package static func exists(_ path: String) -> Bool {
    access(path, F_OK) == 0
  }
}
