import Foundation
import NetworkTypes
import StateProtocol
import Testing

@testable import Provisioner

@Suite("What watch shows", .timeLimit(.minutes(5)))
struct WatchTests {
  private let start = Timestamp(milliseconds: 1_800_000_000_000)

  private func event(
    _ source: TimelineEvent.Source, _ event: String, _ detail: String = "", node: String = "n0001",
    boot: String = "b1", at seconds: Double, completed: Int64? = nil, total: Int64? = nil
  ) -> TimelineEvent {
    TimelineEvent(
      at: start.adding(seconds: seconds), source: source, event: event, detail: detail, node: node, boot: boot,
      completed: completed, total: total)
  }

  private func lines(_ board: WatchBoard, width: Int = 120, height: Int = 24, at seconds: Double) -> [String] {
    WatchFrame(width: width, height: height, hasColor: false).lines(board, now: start.adding(seconds: seconds))
  }

  @Test("is a line for each booting node: state, step, seconds, and a bar while it fills its root")
  func bar() {
    var board = WatchBoard()
    board.take(event(.dhcp, "discover", at: 0))
    #expect(lines(board, at: 2)[1].contains("n0001  booting   discover              2 s"))
    board.take(event(.state, "init", "kernel 6.1", at: 8))
    board.take(event(.step, "50-root started", at: 9))
    board.take(event(.step, "50-root progress", at: 10, completed: 50_000_000, total: 400_000_000))
    board.take(event(.step, "50-root progress", at: 12, completed: 200_000_000, total: 400_000_000))
    let line = lines(board, at: 12)[1]
    #expect(
      line.contains("init      50-root              12 s  [############............]  50% of 400.0 MB, 75.0 MB/s"))
    board.take(event(.step, "50-root done", at: 14))
    #expect(!lines(board, at: 14)[1].contains("["))
    board.take(event(.state, "ready", at: 20))
    #expect(board.notable.isEmpty)
    #expect(lines(board, at: 20)[0] == "1 node: 1 ready")
    board.take(event(.dhcp, "discover", boot: "b2", at: 30))
    #expect(board.rows["n0001"]?.state == "booting")
  }

  @Test("says that the appliance does not answer, and how the nodes were then")
  func away() {
    var board = WatchBoard()
    board.take(event(.dhcp, "discover", at: 0))
    board.silentSince = start.adding(seconds: 5)
    #expect(lines(board, at: 17)[0] == "no answer from the appliance for 12 s; as it was then: 1 node: 1 booting")
    board.silentSince = nil
    #expect(lines(board, at: 18)[0] == "1 node: 1 booting")
  }

  @Test("names nodes in trouble first, and the longest on their way before the others")
  func order() {
    var board = WatchBoard()
    for number in 1...3 {
      board.take(event(.dhcp, "discover", node: "n000\(number)", boot: "b\(number)", at: Double(number)))
    }
    board.take(
      event(
        .step, "30-mount failed", "exit code 1, 'no server'\nnext: the plan stops here", node: "n0003", boot: "b3",
        at: 9))
    board.take(event(.state, "stuck", "in 40-disk for 300 s", node: "n0002", boot: "b2", at: 10))
    #expect(board.notable.map(\.name) == ["n0002", "n0003", "n0001"])
    #expect(lines(board, at: 11)[2].hasSuffix("failed: exit code 1, 'no server'"))
    #expect(board.summary == "3 nodes: 3 booting, 2 in trouble")
    board.take(event(.state, "goes on", node: "n0002", boot: "b2", at: 12))
    #expect(board.notable.map(\.name) == ["n0003", "n0001", "n0002"])
  }

  @Test("fits the terminal with 400 nodes, and says how many are not shown")
  func fourHundred() {
    var board = WatchBoard()
    for number in 0..<400 {
      let name = "n\(1000 + number)"
      board.take(event(.dhcp, "discover", node: name, boot: "b\(number)", at: Double(number)))
      if number < 300 { board.take(event(.state, "ready", node: name, boot: "b\(number)", at: 500)) }
      if number == 399 { board.take(event(.state, "silent", "no report", node: name, boot: "b\(number)", at: 500)) }
    }
    for (width, height) in [(80, 24), (20, 4), (200, 60), (1, 1)] {
      let lines = lines(board, width: width, height: height, at: 600)
      #expect(lines.count <= max(4, height))
      #expect(lines.allSatisfy { $0.count <= max(20, width) })
    }
    let lines = lines(board, width: 80, height: 24, at: 600)
    #expect(lines[0] == "400 nodes: 300 ready, 100 booting, 1 in trouble")
    #expect(lines[1].hasPrefix("n1399"))
    #expect(lines.contains { $0.hasPrefix("... and ") && $0.hasSuffix(" more") })
    #expect(lines.count == 24 && lines[23].contains("n1399  state silent  no report"))
  }

  @Test("has colours only where they are wanted, and nothing that a node says reaches the terminal as a command")
  func escapes() {
    var board = WatchBoard()
    board.take(event(.step, "10-x failed", "\u{1B}[2J\u{9B}31m\u{7}gone", at: 1))
    let plain = lines(board, at: 2).joined()
    #expect(!plain.unicodeScalars.contains { $0.value < 32 || (127...159).contains($0.value) })
    let colored = WatchFrame(width: 120, height: 24, hasColor: true).lines(board, now: start)
    #expect(colored[1].hasPrefix("\u{1B}[31m") && colored[1].hasSuffix("\u{1B}[0m"))
  }

  @Test("takes over what the appliance says of all nodes, and keeps how far they are")
  func refresh() async throws {
    let appliance = try await makeAppliance(TestDirectory())
    for number in 1...2 {
      _ = try await appliance.addNode(AddNode(mac: mac(number).description, name: "n000\(number)"))
    }
    var statuses = try appliance.nodeStatus([])
    (statuses[0].state, statuses[0].boot, statuses[0].step) = ("init", "b1", "50-root")
    (statuses[1].state, statuses[1].boot) = ("ready", "b2")
    try await appliance.close()
    var board = WatchBoard()
    board.take(event(.dhcp, "discover", at: 0))
    board.take(event(.state, "init", at: 5))
    board.take(event(.step, "50-root progress", at: 6, completed: 1, total: 2))
    board.take(event(.dhcp, "discover", node: "gone", boot: "b9", at: 6))
    board.refresh(statuses, now: start.adding(seconds: 9))
    #expect(board.rows["n0001"]?.progress?.completed == 1)
    #expect(board.rows["n0001"]?.since == start)
    #expect(board.rows.keys.sorted() == ["n0001", "n0002"])
  }

  @Test("comes from stage 1's reports: the bytes are shown to who watches, and not written")
  func reported() async throws {
    let appliance = try await makeAppliance(TestDirectory())
    _ = try await appliance.addNode(AddNode(mac: mac(1).description, name: "n0001"))
    let reader = appliance.timeline.follow()
    let events = (1...5).map {
      StepEvent(step: "50-root", outcome: .progress, completedBytes: Int64($0), totalBytes: 10)
    }
    let report = EventReport(
      state: "init", boot: nil, hardwareAddresses: [mac(1)],
      events: events + [StepEvent(step: "50-root", outcome: .done, seconds: 2)])
    let answer = await appliance.nodeService.respond(to: .post("/v1/events", try ProtocolJSON.encode(report)))
    #expect(answer.status == 204)
    let seen = try #require(await reader.next()).events.map(\.event)
    #expect(seen.map(\.event) == ["50-root progress", "50-root done"])
    #expect(seen.first?.completed == 5 && seen.first?.total == 10)
    #expect(try await appliance.nodeTimeline("n0001").allSatisfy { !$0.event.hasSuffix("progress") })
    try await appliance.close()
  }
}
