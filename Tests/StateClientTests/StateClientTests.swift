import CapsuleFormat
import Glibc
import NetworkTypes
import StateClient
import StateProtocol
import TestSupport
import Testing

@Suite("The state client")
struct StateClientTests {
  let report = StateReport(
    state: "init", boot: "b7", hardwareAddresses: [MACAddress("52:54:00:00:00:01")!],
    address: IPv4Address(10, 0, 0, 5),
    facts: Facts(kernelRelease: "6.1", memoryBytes: 1, processors: 1, uptimeSeconds: 1))
  let plan = Plan(state: "init", boot: "b7", nodeName: "n0001", environment: ["NODENAME": "n0001"], steps: [])

  func planAnswer(_ plan: Plan, digestOf other: [UInt8]? = nil) throws -> [UInt8] {
    let body = try ProtocolJSON.encode(plan)
    return answer(
      200, body, fields: ["Content-Digest: " + ContentDigest.fieldValue(Digest.ofContent(other ?? body))])
  }

  @Test("sends the report as JSON with its digest, and reads the plan")
  func reports() throws {
    let response = try planAnswer(plan)
    let server = try ScriptedServer { _, _ in .send(response) }
    try server.serving {
      var client = StateClient(server: server.endpoint)
      let answered = try client.report(report)
      #expect(answered == plan)
    }
    let request = try #require(server.requests.first)
    #expect(request.hasPrefix("POST /v1/state HTTP/1.1\r\n"))
    let body = Array(request[(request.firstRange(of: "\r\n\r\n")!.upperBound)...].utf8)
    #expect(try StateReport.decode(body) == report)
    #expect(request.contains("Content-Digest: \(ContentDigest.fieldValue(Digest.ofContent(body)))"))
  }

  @Test("refuses a plan whose digest is wrong, absent, or of another state")
  func refusesWrongPlans() throws {
    var other = plan
    other.state = "ready"
    let responses = [
      try planAnswer(plan, digestOf: [1]), answer(200, try ProtocolJSON.encode(plan)), try planAnswer(other),
    ]
    let server = try ScriptedServer { _, number in .send(responses[number]) }
    try server.serving {
      var client = StateClient(server: server.endpoint)
      for expected in ["expected a plan of sha256:", "expected a Content-Digest field", "it is for state 'ready'"] {
        #expect(Self.failure { try client.report(report) }?.description.contains(expected) == true)
      }
    }
  }

  @Test("passes on the appliance's words where it refuses")
  func passesWordsOn() throws {
    let server = try ScriptedServer { _, _ in .send(answer(403, Array("node n0001 is disabled\n".utf8))) }
    try server.serving {
      var client = StateClient(server: server.endpoint)
      let text = Self.failure { try client.report(report) }?.description
      #expect(text?.contains("status 403, 'node n0001 is disabled'") == true)
    }
  }

  @Test("leaves nothing behind of a file that is not as promised")
  func verifiesFiles() throws {
    let content = Array("#!/bin/sh\n".utf8)
    let server = try ScriptedServer { _, _ in .send(answer(200, content)) }
    let path = "/tmp/perseid-fetch-\(getpid())"
    try server.serving {
      var client = StateClient(server: server.endpoint)
      try client.fetch(Digest.ofContent(content), length: Int64(content.count), to: path, mode: 0o700)
      #expect(try SmallFile.read(path) == content)
      #expect(Self.failure { try client.fetch(Digest.ofContent([1]), length: 10, to: path, mode: 0o700) } != nil)
      #expect(!SmallFile.exists(path))
      #expect(
        Self.failure { try client.fetch(Digest.ofContent(content), length: 9, to: path, mode: 0o700) } != nil)
      #expect(!SmallFile.exists(path))
    }
    #expect(server.requests[0].hasPrefix("GET /blobs/sha256/\(Digest.ofContent(content).hexadecimal) "))
  }

  @Test("keeps events while the appliance is away, within bounds, and drops progress first")
  func buffersEvents() throws {
    var reporter = EventReporter()
    reporter.add(StepEvent(step: "root", outcome: .started))
    for number in 0..<1000 {
      reporter.add(StepEvent(step: "root", outcome: .progress, completedBytes: Int64(number)))
    }
    #expect(reporter.backlog.count == 2)
    #expect(reporter.backlog.last?.completedBytes == 999)
    for number in 0..<1000 { reporter.add(StepEvent(step: "s\(number)", outcome: .done)) }
    #expect(reporter.backlog.count == EventReporter.capacity)
    #expect(!reporter.backlog.contains { $0.outcome == .progress })
  }

  @Test("sends kept events in order, once the appliance is there")
  func flushesEvents() throws {
    let server = try ScriptedServer { _, _ in .send(answer(204)) }
    try server.serving {
      var client = StateClient(server: server.endpoint)
      var reporter = EventReporter()
      for number in 0..<30 { reporter.add(StepEvent(step: "s\(number)", outcome: .done)) }
      let header = EventReport(state: "init", boot: "b7", hardwareAddresses: [], events: [])
      #expect(reporter.flush(header, through: &client) == nil)
      #expect(reporter.backlog.isEmpty)
    }
    let sent = try server.requests.flatMap { request in
      try EventReport.decode(Array(request[(request.firstRange(of: "\r\n\r\n")!.upperBound)...].utf8)).events
    }
    #expect(sent.map(\.step) == (0..<30).map { "s\($0)" })
  }

  @Test("waits between half and the whole of a doubling time, up to the longest")
  func backsOff() {
    var backoff = Backoff(first: 1, longest: 20)
    var generator = SystemRandomNumberGenerator()
    for whole in [1.0, 2, 4, 8, 16, 20, 20, 20] {
      let wait = backoff.next(using: &generator)
      #expect(wait >= whole / 2 && wait <= whole)
    }
    for _ in 0..<100 { #expect(backoff.next() <= 20) }
    backoff.reset()
    #expect(backoff.next() <= 1)
  }

  static func failure<Value>(_ body: () throws -> Value) -> StateClientError? {
    do {
      _ = try body()
      return nil
    } catch {
      return error as? StateClientError
    }
  }
}
