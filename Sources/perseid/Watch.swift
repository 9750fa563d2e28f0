import ArgumentParser
import FoundationEssentials
import Glibc
import Provisioner
import Synchronization

/// `perseid watch [NODE]`: what happens, as it happens, until Ctrl-C.
struct Watch: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Follow boots live, until Ctrl-C.",
    discussion: """
      On a terminal: a line for each node that boots or is in trouble, drawn anew as things happen. Elsewhere, and \
      with --lines: a line for each event. NO_COLOR in the environment takes the colours away.
      """)

  @Argument(help: "Only this node (default: all).", completion: Names.nodes)
  var node: String?

  @Flag(name: .long, help: "A line for each event, on a terminal too.")
  var lines = false

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  func run() async throws {
    do {
      try await interruptible {
        if let screen = lines || output.json ? nil : WatchScreen.onTerminal() {
          defer { screen.leave() }
          try await draw(on: screen)
        } else {
          try await follow()
        }
      }
    } catch is CancellationError {
      // Ctrl-C is how it ends.
    }
  }

  private var request: AdminRequest {
    AdminRequest(.get, ["events"], query: AdminRequest.nodes(node.map { [$0] } ?? []))
  }

  private func follow() async throws {
    try await Access.with(common) { access in
      var events = EventLines()
      let view = TimelineView(start: .now, width: terminalWidth(), showsNames: node == nil)
      var quarters = Quarters()
      var isHeaded = output.json
      try await access.connection.stream(request) { piece in
        if !isHeaded { try show(view.heading) }
        isHeaded = true
        for json in try events.take(piece) {
          if output.json {
            try show(String(decoding: json, as: UTF8.self) + "\n")
          } else {
            let event: TimelineEvent = try Access.decode(json)
            if quarters.isWorthALine(event) { try show(view.line(event)) }
          }
        }
      }
    }
  }

  private func draw(on screen: WatchScreen) async throws {
    try await Access.with(common) { access in
      let board = SharedBoard()
      let status = AdminRequest(.get, ["status"], query: AdminRequest.nodes(node.map { [$0] } ?? []))
      board.refresh(try await access.get(status))
      let request = request
      try await withThrowingTaskGroup(of: Void.self) { tasks in
        defer { tasks.cancelAll() }
        tasks.addTask {
          while true {
            let start = ContinuousClock.now
            for _ in 0..<20 {
              try await Task.sleep(for: .milliseconds(250))
              try screen.draw(board.now)
            }
            board.refresh(try await access.get(status))
            // With very many nodes the list is asked for less often.
            try await Task.sleep(for: (ContinuousClock.now - start - .seconds(5)) * 10)
          }
        }
        tasks.addTask {
          var lines = EventLines()
          try await access.connection.stream(request) { piece in
            for json in try lines.take(piece) { board.take(try Access.decode(json)) }
          }
        }
        try await tasks.next()
      }
    }
  }
}

private final class SharedBoard: Sendable {
  private let board = Mutex(WatchBoard())

  var now: WatchBoard { board.withLock { $0 } }

  func refresh(_ nodes: [NodeStatusView]) { board.withLock { $0.refresh(nodes, now: .now) } }

  func take(_ event: TimelineEvent) { board.withLock { $0.take(event) } }
}

/// Of a step's progress a line for each quarter of the way.
private struct Quarters {
  private var seen: [String: Int64] = [:]

  mutating func isWorthALine(_ event: TimelineEvent) -> Bool {
    guard let completed = event.completed, let total = event.total, total > 0 else { return true }
    let key = "\(event.node ?? "") \(event.boot ?? "") \(event.event)"
    let quarter = Int64(Double(completed) / Double(total) * 4)
    guard quarter > seen[key] ?? 0 else { return false }
    if seen.count > 10_000 { seen = [:] }
    seen[key] = quarter
    return true
  }
}

/// The terminal while `watch` has it: a screen of its own, given back as it was.
final class WatchScreen: Sendable {
  private let hasColor: Bool
  private let last = Mutex<[String]>([])

  /// `nil` where standard output is no terminal that can move its cursor.
  static func onTerminal() -> WatchScreen? {
    guard isatty(STDOUT_FILENO) == 1, let terminal = environment("TERM"), terminal != "dumb" else { return nil }
    return WatchScreen(hasColor: environment("NO_COLOR") == nil)
  }

  private init(hasColor: Bool) {
    self.hasColor = hasColor
    // Another screen, without a cursor.
    try? show("\u{1B}[?1049h\u{1B}[?25l\u{1B}[2J")
  }

  func leave() { try? show("\u{1B}[?25h\u{1B}[?1049l") }

  func draw(_ board: WatchBoard) throws {
    let size = terminalSize()
    let lines = WatchFrame(width: size.columns, height: size.lines, hasColor: hasColor).lines(board, now: .now)
    guard last.withLock({ $0 != lines }) else { return }
    last.withLock { $0 = lines }
    try show("\u{1B}[H" + lines.map { $0 + "\u{1B}[K" }.joined(separator: "\r\n") + "\u{1B}[J")
  }
}

/// Takes server-sent events apart (HTML standard, section 9.2): the data of each that has no other name.
struct EventLines {
  private var rest: [UInt8] = []
  private var isOther = false
  /// Longest line that is kept, in bytes.
  private static let limit = 1 << 20

  mutating func take(_ piece: [UInt8]) throws -> [[UInt8]] {
    rest += piece
    guard rest.count <= Self.limit else { throw ApplianceError(.failed, "The appliance sends lines without an end.") }
    var found: [[UInt8]] = []
    var lines = rest.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    rest = lines.popLast().map(Array.init) ?? []
    for line in lines {
      if line.isEmpty { isOther = false }
      if line.starts(with: "event: ".utf8) { isOther = true }
      if line.starts(with: "data: ".utf8), !isOther { found.append(Array(line.dropFirst(6))) }
    }
    return found
  }
}
