import Glibc
import Logging

/// Log lines for people, on standard error: time, level, message, then what belongs to it.
///
/// `2026-01-31T09:15:00.250Z info    TFTP is listening  address=0.0.0.0 port=69`
struct StandardErrorLog: LogHandler {
  var metadata: Logger.Metadata = [:]
  var metadataProvider: Logger.MetadataProvider?
  var logLevel = Logger.Level.info

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    var line = "\(Self.time()) \(Self.padded(event.level)) \(event.message)"
    if let error = event.error { line += ": \(error)" }
    let all = metadata.merging(event.metadata ?? [:]) { $1 }
    if !all.isEmpty {
      line += "  " + all.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: " ")
    }
    // One write for one line, so that lines of several threads never mix.
    write(to: STDERR_FILENO, line + "\n")
  }

  private static func padded(_ level: Logger.Level) -> String {
    level.rawValue + String(repeating: " ", count: max(0, 8 - level.rawValue.count))
  }

  /// RFC 3339 in UTC, to the millisecond.
  private static func time() -> String {
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    var seconds = now.tv_sec
    var parts = tm()
    gmtime_r(&seconds, &parts)
    func padded(_ number: Int, _ digits: Int) -> String {
      let text = String(number)
      return String(repeating: "0", count: max(0, digits - text.count)) + text
    }
    return padded(Int(parts.tm_year) + 1900, 4) + "-" + padded(Int(parts.tm_mon) + 1, 2) + "-"
      + padded(Int(parts.tm_mday), 2) + "T" + padded(Int(parts.tm_hour), 2) + ":" + padded(Int(parts.tm_min), 2) + ":"
      + padded(Int(parts.tm_sec), 2) + "." + padded(now.tv_nsec / 1_000_000, 3) + "Z"
  }
}
