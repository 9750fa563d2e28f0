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
      with --lines: a line for each event. NO_COLOR in the environment takes the colours away. Where the appliance is \
      started anew, it goes on with what happened since.
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
      var events = EventFollower(access.connection, request)
      let view = TimelineView(start: .now, width: terminalWidth(), showsNames: node == nil)
      var quarters = Quarters()
      var wasThere = false
      try await events.follow { item in
        switch item {
        case .there:
          if wasThere { printError("perseid watch: the appliance is there again.") }
          if !wasThere, !output.json { try show(view.heading) }
          wasThere = true
        case .away: printError("perseid watch: the appliance has stopped; waiting until it is there again.")
        case .lost(let count):
          let number = count.map { "\($0)" } ?? "an unknown number of"
          printError("perseid watch: \(number) events that happened before the next one are not shown.")
        case .event(let json):
          if output.json { return try show(String(decoding: json, as: UTF8.self) + "\n") }
          let event: TimelineEvent = try Access.decode(json)
          if quarters.isWorthALine(event) { try show(view.line(event)) }
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
            try await Task.sleep(for: .milliseconds(250))
            try screen.draw(board.now)
          }
        }
        tasks.addTask {
          while true {
            let start = ContinuousClock.now
            try await Task.sleep(for: .seconds(5))
            // An appliance that has stopped says so by its events; it is asked again when it is there again.
            if let nodes: [NodeStatusView] = try? await access.get(status) { board.refresh(nodes) }
            // With very many nodes the list is asked for less often.
            try await Task.sleep(for: (ContinuousClock.now - start - .seconds(5)) * 10)
          }
        }
        tasks.addTask {
          var events = EventFollower(access.connection, request)
          try await events.follow { item in
            switch item {
            case .event(let json): board.take(try Access.decode(json))
            case .there: board.answers(true)
            case .away: board.answers(false)
            case .lost: break
            }
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

  func answers(_ doesAnswer: Bool) { board.withLock { $0.silentSince = doesAnswer ? nil : .now } }
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
