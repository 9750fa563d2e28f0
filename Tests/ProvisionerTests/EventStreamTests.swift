import Foundation
import NetworkTypes
import Testing

import struct Lab.Command
import class Lab.RunningProcess

@testable import Provisioner

@Suite("Server-sent events", .timeLimit(.minutes(5)))
struct EventStreamTests {
  @Test("come to curl as they happen, and go on behind the last that was seen")
  func follow() async throws {
    try await withAdmin { _, appliance in
      let socket = appliance.configuration.paths.controlSocket
      let first = try CurlStream(socket, "events")
      try await first.read(until: ": watching")
      #expect(first.text.contains("Content-Type: text/event-stream"))
      for number in 1...3 { appliance.timeline.record(event(number)) }
      try await first.read(until: "\"event\":\"3\"")
      first.end()
      let events = ServerSentEvents.parse(first.text)
      #expect(events.map(\.event.event) == ["1", "2", "3"])
      for number in 4...5 { appliance.timeline.record(event(number)) }
      let second = try CurlStream(socket, "events", "-H", "Last-Event-ID: \(events[1].id)")
      try await second.read(until: "\"event\":\"5\"")
      second.end()
      #expect(ServerSentEvents.parse(second.text).map(\.event.event) == ["3", "4", "5"])
      #expect(!second.text.contains("lost"))
      let other = try CurlStream(socket, "events", "-H", "Last-Event-ID: 0123456789ab-7")
      try await other.read(until: "data: {\"lost\":null}")
      #expect(other.text.contains("event: lost\ndata: {\"lost\":null}"))
      other.end()
    }
  }

  @Test("are of one node where one is named, and end when the appliance stops")
  func ending() async throws {
    var stream: CurlStream?
    try await withAdmin { _, appliance in
      let one = try CurlStream(appliance.configuration.paths.controlSocket, "events?node=n0001")
      stream = one
      try await one.read(until: ": watching")
      appliance.timeline.record(event(1))
      appliance.timeline.record(event(2, node: "n0001"))
      try await one.read(until: "\"event\":\"2\"")
      #expect(ServerSentEvents.parse(one.text).map(\.event.event) == ["2"])
    }
    try await stream?.readToEnd()
  }

  @Test("leave a reader that takes nothing, and keep one alive that waits")
  func stalled() async throws {
    let appliance = try await makeAppliance(TestDirectory())
    let stream = EventStream(
      appliance.timeline, node: nil, lastEventID: nil, limits: .init(keepAliveSeconds: 0.01, stallSeconds: 0.05))
    let (hungUp, continuation) = AsyncStream.makeStream(of: Void.self)
    var pieces: [String] = []
    await #expect(throws: Enough.self) {
      func take(_ piece: [UInt8]) async throws {
        pieces.append(String(decoding: piece, as: UTF8.self))
        guard pieces.count == 3 else { return }
        // Takes nothing until it is left.
        for await _ in hungUp {}
        throw Enough()
      }
      try await stream.run(hangUp: { continuation.finish() }, take)
    }
    #expect(pieces[0].contains(": watching\n\n"))
    #expect(pieces[1] == ": still there\n\n")
    try await appliance.close()
  }

  private func event(_ number: Int, node: String? = nil) -> TimelineEvent {
    TimelineEvent(at: .now, source: .http, event: "\(number)", detail: "with\na line end", node: node)
  }
}

private struct Enough: Error {}

enum ServerSentEvents {
  static func parse(_ text: String) -> [(id: String, event: TimelineEvent)] {
    text.components(separatedBy: "\n\n").compactMap { block in
      var fields: [String: String] = [:]
      for line in block.split(separator: "\n") {
        let parts = line.split(separator: ":", maxSplits: 1).map(String.init)
        if parts.count == 2, !line.hasPrefix(":") { fields[parts[0]] = String(parts[1].dropFirst()) }
      }
      guard fields["event"] == nil, let id = fields["id"], let data = fields["data"],
        let event = try? JSONDecoder().decode(TimelineEvent.self, from: Data(data.utf8))
      else { return nil }
      return (id, event)
    }
  }
}

/// curl that reads an answer which goes on.
struct CurlStream {
  private let process: RunningProcess

  init(_ socket: String, _ path: String, _ arguments: String...) throws {
    let options = ["-s", "-i", "-N", "--max-time", "120", "--unix-socket", socket]
    process = try RunningProcess(Command(["curl"] + options + arguments + ["http://appliance/api/v1/\(path)"]))
  }

  /// What came so far, lines ended by line feeds alone.
  var text: String { process.log.text }

  func end() { process.signal(SIGTERM) }

  /// - Parameter found: A piece of a line.
  func read(until found: String) async throws {
    try await process.log.line(containing: found, within: .seconds(120))
  }

  func readToEnd() async throws { try await process.exit(within: .seconds(120)) }
}
