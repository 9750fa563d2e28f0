/// One picture of a ``WatchBoard`` on a terminal: the summary, nodes in trouble, those that boot, each with a bar where
/// it fills its root, and what happened last. It always fits.
package struct WatchFrame: Sendable {
  private let width: Int
  private let height: Int
  private let hasColor: Bool

  private enum Color: String {
    case red = "31"
    case green = "32"
    case cyan = "36"
    case dim = "2"
    case bold = "1"
  }

  private static let barWidth = 24

  /// - Parameters:
  ///   - width, height: Columns and lines of the terminal.
  ///   - hasColor: `false` for NO_COLOR and terminals that have none.
  package init(width: Int, height: Int, hasColor: Bool) {
    self.width = max(width, 20)
    self.height = max(height, 4)
    self.hasColor = hasColor
  }

  /// At most `height` lines, each at most `width` columns, without line ends.
  package func lines(_ board: WatchBoard, now: Timestamp) -> [String] {
    var lines = [painted(cut(board.summary), .bold)]
    if let since = board.silentSince {
      let seconds = max(0, Int(now.seconds(since: since)))
      lines = [painted(cut("no answer from the appliance for \(seconds) s; as it was then: \(board.summary)"), .red)]
    }
    let notable = board.notable
    let room = height - 2
    // Events get what is left over, and a quarter where there is much to show.
    let rowRoom = notable.count <= room ? notable.count : max(1, room - max(2, room / 4))
    let shown = notable.prefix(notable.count <= rowRoom ? rowRoom : max(1, rowRoom - 1))
    let nameWidth = min(24, shown.map(\.name.count).max() ?? 0)
    for row in shown { lines.append(line(row, nameWidth, now)) }
    if shown.count < notable.count { lines.append(painted(cut("... and \(notable.count - shown.count) more"), .dim)) }
    let left = height - lines.count - 1
    guard left > 0, !board.events.isEmpty else { return lines }
    lines.append("")
    for event in board.events.suffix(left) { lines.append(painted(cut(Self.line(event)), .dim)) }
    return lines
  }

  private func line(_ row: WatchBoard.Row, _ nameWidth: Int, _ now: Timestamp) -> String {
    let seconds = "\(max(0, Int(now.seconds(since: row.since)))) s"
    var line = padded(printable(row.name, 64), nameWidth) + "  " + padded(printable(row.state, 32), 8) + "  "
    line += padded(printable(row.step ?? "-", 64), 16) + "  " + String(repeating: " ", count: max(0, 7 - seconds.count))
    line += seconds + "  "
    if let trouble = row.trouble {
      return painted(cut(line + printable(trouble.split(separator: "\n").first.map(String.init) ?? "", 400)), .red)
    }
    guard let progress = row.progress else { return cut(line) }
    return bar(progress, behind: cut(line))
  }

  private func bar(_ progress: WatchBoard.Progress, behind line: String) -> String {
    let part = Double(progress.completed) / Double(progress.total)
    let filled = Int(part * Double(Self.barWidth))
    let percent = "\(Int(part * 100))"
    var words = " " + String(repeating: " ", count: 3 - percent.count) + percent + "% of "
    words += ByteCount.words(progress.total)
    if let rate = progress.bytesPerSecond { words += ", \(ByteCount.words(Int64(min(max(rate, 0), 1e15))))/s" }
    let room = width - line.count
    guard room >= Self.barWidth + 2 else { return cut(line + words.drop { $0 == " " }) }
    let bar = "[" + String(repeating: "#", count: filled) + String(repeating: ".", count: Self.barWidth - filled) + "]"
    return line + painted(bar, .cyan) + String(words.prefix(room - bar.count))
  }

  private static func line(_ event: TimelineEvent) -> String {
    let time = event.at.description.dropFirst(11).prefix(8)
    let name = event.node ?? event.mac.map { "\($0)" } ?? "-"
    let detail = event.detail.split(separator: "\n").first.map(String.init) ?? ""
    return "\(time)  \(printable(name, 64))  \(event.source.rawValue) \(printable(event.event, 64))  "
      + printable(detail, 400)
  }

  private func padded(_ text: String, _ width: Int) -> String {
    let short = text.count > width ? String(text.prefix(max(1, width - 1))) + "~" : text
    return short + String(repeating: " ", count: max(0, width - short.count))
  }

  private func cut(_ line: String) -> String { line.count > width ? String(line.prefix(width - 1)) + "~" : line }

  private func painted(_ text: String, _ color: Color) -> String {
    hasColor && !text.isEmpty ? "\u{1B}[\(color.rawValue)m\(text)\u{1B}[0m" : text
  }
}
