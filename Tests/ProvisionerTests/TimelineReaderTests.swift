import Foundation
import Testing

@testable import Provisioner

@Suite("Following what happens", .timeLimit(.minutes(5)))
struct TimelineReaderTests {
  private func event(_ number: Int, node: String? = nil) -> TimelineEvent {
    TimelineEvent(at: .now, source: .http, event: "\(number)", detail: "", node: node)
  }

  private func withTimeline(_ body: (Timeline) async throws -> Void) async throws {
    let appliance = try await makeAppliance(TestDirectory())
    try await body(appliance.timeline)
    try await appliance.close()
  }

  @Test("gives each event once, in order, with its number, and only a node's own where one is named")
  func order() async throws {
    try await withTimeline { timeline in
      let all = timeline.follow()
      let one = timeline.follow(node: "b")
      for number in 0..<600 { timeline.record(event(number, node: number.isMultiple(of: 2) ? "a" : "b")) }
      var seen: [String] = []
      while seen.count < 600 {
        let batch = try #require(await all.next())
        #expect(batch.events.count <= Timeline.batchLimit && batch.lost == 0)
        seen += batch.events.map(\.event.event)
      }
      #expect(seen == (0..<600).map(String.init))
      #expect(try #require(await one.next()).events.allSatisfy { $0.event.node == "b" })
    }
  }

  @Test("shows each who asks for a timeline all that was recorded before, though another one is writing it just now")
  func settled() async throws {
    try await withTimeline { timeline in
      for number in 0..<300 {
        var made = event(number, node: "a")
        made.boot = "1"
        timeline.record(made)
        let counts = try await withThrowingTaskGroup(of: Int.self) { group in
          for _ in 0..<4 { group.addTask { try await timeline.events(of: "a").count } }
          return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(counts.allSatisfy { $0 == number + 1 }, "\(counts) after \(number + 1) events")
      }
    }
  }

  @Test("waits where nothing has happened, and ends when the appliance stops, or the task is cancelled")
  func waiting() async throws {
    try await withTimeline { timeline in
      let reader = timeline.follow()
      async let first = reader.next()
      timeline.record(event(1))
      #expect(await first?.events.map(\.event.event) == ["1"])
      reader.poke()
      #expect(await reader.next()?.events.isEmpty == true)
      let cancelled = Task { await timeline.follow().next() }
      cancelled.cancel()
      #expect(await cancelled.value == nil)
      async let last = reader.next()
      timeline.record(event(2))
      timeline.finish()
      #expect(await last?.events.map(\.event.event) == ["2"])
      #expect(await reader.next() == nil)
    }
  }

  @Test("goes on behind the last event that was seen, and says what is no longer there")
  func resumption() async throws {
    try await withTimeline { timeline in
      for number in 1...5 { timeline.record(event(number)) }
      let reader = timeline.follow(after: timeline.identifier(3))
      #expect(try #require(await reader.next()).events.map(\.event.event) == ["4", "5"])
      for number in 6...(EventRing.capacity + 10) { timeline.record(event(number)) }
      let late = try #require(await timeline.follow(after: timeline.identifier(3)).next())
      #expect(late.lost == 7)
      #expect(late.events.first?.number == 11)
      let slow = try #require(await reader.next())
      #expect(slow.lost == 5)
      #expect(timeline.isKnown(timeline.identifier(1)))
      for strange in ["", "-", "x-1", "\(timeline.run)", "\(timeline.run)-", "\(timeline.run)-99999999999999999999"] {
        #expect(!timeline.isKnown(strange))
        #expect(timeline.follow(after: strange) !== reader)
      }
    }
  }
}
