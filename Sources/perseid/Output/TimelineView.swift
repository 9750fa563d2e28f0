import NetworkTypes
import Provisioner

/// A boot's timeline for people: seconds since its first event, who said what, and how long it took.
///
///     seconds  source  event         took  detail
///       0.000  dhcp    discover            UEFI x64 firmware: OFFER 10.0.1.1, snponly.efi by TFTP; rule uefi
///       2.310  tftp    finished   0.041 s  snponly.efi, 71.3 KiB
struct TimelineView {
  private let start: Timestamp
  private let eventWidth: Int
  /// Columns of the terminal; `nil`: lines are as long as they are.
  private let width: Int?
  /// Names in front of each line, where several nodes are shown.
  private let nameWidth: Int

  /// - Parameter events: Those known so far, for the columns' width.
  init(start: Timestamp, events: [TimelineEvent] = [], width: Int?, showsNames: Bool = false) {
    self.start = start
    self.width = width
    eventWidth = min(24, max(10, events.map(\.event.count).max() ?? 18))
    // A machine has no name yet when it asks for the first time: its hardware address stands there.
    nameWidth = showsNames ? max(17, events.compactMap { $0.node?.count }.max() ?? 0) : 0
  }

  var heading: String {
    let names = nameWidth > 0 ? padded("node", nameWidth) + "  " : ""
    return names + "  seconds  source  " + padded("event", eventWidth) + "       took  detail\n"
  }

  func line(_ event: TimelineEvent) -> String {
    var line = ""
    if nameWidth > 0 { line += padded(event.node ?? event.mac?.description ?? "-", nameWidth) + "  " }
    line += padded(Quantity.decimal(event.at.seconds(since: start), 3), 9, right: true)
    line += "  " + padded(event.source.rawValue, 6) + "  " + padded(event.event, eventWidth)
    line += "  " + padded(event.seconds.map(Quantity.seconds) ?? "", 9, right: true)
    guard !event.detail.isEmpty else { return trimmed(line) + "\n" }
    line += "  "
    return line + wrapped(event.detail, indent: line.count) + "\n"
  }

  /// Long details go on below where they began.
  private func wrapped(_ text: String, indent: Int) -> String {
    let room = width.map { max(24, $0 - indent) } ?? .max
    var lines: [String] = []
    for paragraph in text.split(separator: "\n") {
      var line = ""
      for word in paragraph.split(separator: " ") {
        if !line.isEmpty && line.count + 1 + word.count > room {
          lines.append(line)
          line = ""
        }
        line += (line.isEmpty ? "" : " ") + word
      }
      lines.append(line)
    }
    return lines.joined(separator: "\n" + String(repeating: " ", count: indent))
  }

  private func trimmed(_ line: String) -> String {
    String(line.reversed().drop { $0 == " " }.reversed())
  }

  private func padded(_ text: String, _ width: Int, right: Bool = false) -> String {
    let padding = String(repeating: " ", count: max(0, width - text.count))
    return right ? padding + text : text + padding
  }
}

/// The stages of a boot and the seconds each took, read off its events.
struct BootStages {
  private(set) var stages: [(name: String, seconds: Double)] = []
  /// From the first event to the end of the last stage.
  private(set) var total = 0.0
  /// Whether the node reached `ready`.
  private(set) var isReady = false

  /// - Parameter events: Of one boot, in order.
  init(_ events: [TimelineEvent]) {
    guard let first = events.first else { return }
    let initial = events.firstIndex { $0.source == .state && $0.event == "init" }
    let early = events[..<(initial ?? events.endIndex)]
    let handOver = events.last { $0.source == .step && $0.event.hasPrefix("hand-over") }
    let ready = events.first { $0.source == .state && $0.event == "ready" }
    let marks: [(name: String, event: TimelineEvent?)] = [
      ("firmware", early.first { $0.source == .http && $0.event == "script" }),
      ("loader", early.last { $0.event.hasSuffix("initramfs") || $0.event.hasSuffix("kernel") }),
      ("kernel", initial.map { events[$0] }),
      ("stage 1", handOver),
      ("system", ready),
    ]
    var last = first.at
    for (name, event) in marks {
      guard let event, event.at >= last else { continue }
      stages.append((name, event.at.seconds(since: last)))
      last = event.at
    }
    total = last.seconds(since: first.at)
    isReady = ready != nil
  }

  /// `firmware 2.310 s, loader 1.002 s, ...: 24.1 s from the first packet to ready`; empty where there are none.
  var text: String {
    guard !stages.isEmpty else { return "" }
    let parts = stages.map { "\($0.name) \(Quantity.seconds($0.seconds))" }.joined(separator: ", ")
    return "\(parts): \(Quantity.seconds(total)) from the first packet" + (isReady ? " to ready.\n" : ".\n")
  }
}
