/// What every node does, for `perseid watch` on a terminal: from the appliance's own list of states, and what happens
/// since. Nothing is decided here: who is stuck or silent the appliance says.
package struct WatchBoard: Hashable, Sendable {
  package struct Row: Hashable, Sendable {
    package var name: String
    package var state: String
    /// The step, or what its firmware or loader did last.
    package var step: String?
    /// Why it is stuck, silent or failed.
    package var trouble: String?
    package var boot: String?
    /// When its boot began, or its state.
    package var since: Timestamp
    package var progress: Progress?

    package var isBooting: Bool { WatchBoard.bootStates.contains(state) }
  }

  package struct Progress: Hashable, Sendable {
    package var completed: Int64
    package var total: Int64
    package var at: Timestamp
    /// Over the last two reports.
    package var bytesPerSecond: Double?
  }

  /// States in which a machine is on its way.
  static let bootStates: Set<String> = ["booting", "init"]
  /// Last events kept for the end of the screen.
  static let eventLimit = 64

  package private(set) var rows: [String: Row] = [:]
  /// The latest last.
  package private(set) var events: [TimelineEvent] = []

  /// When the appliance was last there, where it is not.
  package var silentSince: Timestamp?

  package init() {}

  /// What the appliance says of all nodes at this moment.
  package mutating func refresh(_ statuses: [NodeStatusView], now: Timestamp) {
    let old = rows
    rows = [:]
    for status in statuses {
      var row = Row(
        name: status.name, state: status.state, step: status.step, trouble: Self.trouble(status), boot: status.boot,
        since: status.since ?? now)
      if let known = old[status.name], known.boot == row.boot, known.state == row.state {
        (row.since, row.progress) = (known.since, known.progress)
        if row.step == nil { row.step = known.step }
      }
      rows[status.name] = row
    }
  }

  private static func trouble(_ status: NodeStatusView) -> String? {
    if status.condition == .stuck || status.condition == .silent { return status.detail ?? status.condition.rawValue }
    return status.detail.flatMap { $0.hasPrefix("failed") ? $0 : nil }
  }

  package mutating func take(_ event: TimelineEvent) {
    if event.completed == nil {
      events.append(event)
      if events.count > Self.eventLimit { events.removeFirst(events.count - Self.eventLimit) }
    }
    guard let name = event.node else { return }
    var row = rows[name] ?? Row(name: name, state: "booting", since: event.at)
    if let boot = event.boot, boot != row.boot {
      row = Row(name: name, state: "booting", boot: boot, since: event.at)
    }
    switch event.source {
    case .state: takeState(event, &row)
    case .step: takeStep(event, &row)
    case .dhcp, .tftp, .http: if row.isBooting { row.step = event.event }
    }
    rows[name] = row
  }

  private func takeState(_ event: TimelineEvent, _ row: inout Row) {
    switch event.event {
    case "silent", "stuck": row.trouble = "\(event.event): \(event.detail)"
    case "wait": row.step = event.event
    case "goes on": row.trouble = nil
    default:
      if row.state != event.event, !(row.isBooting && event.event == "init") { row.since = event.at }
      row.state = event.event
      row.step = nil
      row.trouble = nil
      row.progress = nil
    }
  }

  private func takeStep(_ event: TimelineEvent, _ row: inout Row) {
    let words = event.event.split(separator: " ")
    guard let outcome = words.last, words.count > 1 else { return }
    let step = words.dropLast().joined(separator: " ")
    if row.step != step { row.progress = nil }
    row.step = step
    row.trouble = outcome == "failed" ? "failed: \(event.detail)" : nil
    guard let completed = event.completed, let total = event.total, total > 0, completed >= 0 else {
      if outcome != "progress" { row.progress = nil }
      return
    }
    var progress = Progress(completed: min(completed, total), total: total, at: event.at)
    if let last = row.progress, event.at > last.at, completed >= last.completed {
      progress.bytesPerSecond = Double(completed - last.completed) / event.at.seconds(since: last.at)
    }
    row.progress = progress
  }

  /// Those a person wants to see: in trouble first, then on their way, each the longest first.
  package var notable: [Row] {
    rows.values.filter { $0.trouble != nil || $0.isBooting }.sorted { one, other in
      (one.trouble == nil ? 1 : 0, one.since, one.name) < (other.trouble == nil ? 1 : 0, other.since, other.name)
    }
  }

  /// `400 nodes: 371 ready, 24 booting, 5 in trouble`
  package var summary: String {
    var counts: [String: Int] = [:]
    for row in rows.values { counts[row.isBooting ? "booting" : row.state, default: 0] += 1 }
    let troubled = rows.values.count { $0.trouble != nil }
    var parts = counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { "\($0.value) \($0.key)" }
    if troubled > 0 { parts.append("\(troubled) in trouble") }
    let nodes = rows.count == 1 ? "1 node" : "\(rows.count) nodes"
    return parts.isEmpty ? "no nodes yet" : nodes + ": " + parts.joined(separator: ", ")
  }
}
