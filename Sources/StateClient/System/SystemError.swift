import CLinux
import Glibc

/// A system call that failed: what was being done, and the kernel's reason.
package struct SystemError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What was being done, and with what: `open /etc/hostname`.
  package var action: String
  /// errno.
  package var code: CInt

  package init(_ action: String, code: Int32 = errno) {
    self.action = action
    self.code = code
  }

  package var description: String { "\(action): \(Self.text(code))" }

  /// The C library's words for an errno.
  package static func text(_ code: CInt) -> String {
    clinux_error_text(code).map { String(cString: $0) } ?? "error \(code)"
  }
}

/// Calls again while a signal interrupted the call.
/// - Returns: What the call returned, not -1.
/// - Throws: `SystemError` naming `action`.
@discardableResult
package func check<Result: FixedWidthInteger & SignedInteger>(
  _ action: @autoclosure () -> String, _ call: () -> Result
) throws(SystemError) -> Result {
  while true {
    let result = call()
    if result != -1 { return result }
    if errno != EINTR { throw SystemError(action(), code: errno) }
  }
}
