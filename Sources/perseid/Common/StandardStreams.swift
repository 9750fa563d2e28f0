import Glibc

/// The reader of standard output is gone.
struct BrokenPipe: Error {}

/// Writes all of the text, or ends where nobody reads any more.
func write(to descriptor: Int32, _ text: String) {
  _ = writeAll(descriptor, Array(text.utf8)[...])
}

/// - Throws: `BrokenPipe`.
func show(_ text: String) throws {
  guard writeAll(STDOUT_FILENO, Array(text.utf8)[...]) else { throw BrokenPipe() }
}

func printError(_ text: String) {
  write(to: STDERR_FILENO, text + "\n")
}

private func writeAll(_ descriptor: Int32, _ bytes: ArraySlice<UInt8>) -> Bool {
  var rest = bytes
  while !rest.isEmpty {
    let written = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
    if written < 0 && errno == EINTR { continue }
    guard written > 0 else { return false }
    rest = rest.dropFirst(written)
  }
  return true
}

/// Columns of the terminal on standard output; `nil` where there is none.
func terminalWidth() -> Int? { isatty(STDOUT_FILENO) == 1 ? terminalSize().columns : nil }

/// Of the terminal on standard output, 80 by 24 where that is not known.
func terminalSize() -> (columns: Int, lines: Int) {
  var size = winsize()
  guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0, size.ws_row > 0 else { return (80, 24) }
  return (Int(size.ws_col), Int(size.ws_row))
}
