import CapsuleFormat
import Glibc
import NetworkTypes
import StateClient
import StateProtocol
import TestSupport
import Testing

@Suite("The client in the running node")
struct StateFollowerTests {
  private func record(_ servers: [Endpoint], next state: String = "ready") -> NodeRecord {
    NodeRecord(
      server: servers[0].address, port: servers[0].port,
      otherServers: servers.dropFirst().map { NodeRecord.Server(address: $0.address, port: $0.port) }, boot: "b7",
      nodeName: "n0001", hardwareAddresses: [MACAddress("52:54:00:00:00:01")!], interface: "eth0", generation: nil,
      nextState: state, intervalSeconds: 60)
  }

  private func planAnswer(
    _ state: String, next: String? = nil, after seconds: Int? = nil, interval: Int? = nil, wait: Plan.Wait? = nil,
    steps: [Step] = [],
    others: [Endpoint]? = nil
  ) throws -> [UInt8] {
    let plan = Plan(
      state: state, boot: "b7", nodeName: "n0001", environment: [:], steps: steps, nextState: next,
      intervalSeconds: interval, nextSeconds: seconds, wait: wait,
      otherServers: others?.map { NodeRecord.Server(address: $0.address, port: $0.port) })
    let body = try ProtocolJSON.encode(plan)
    return answer(200, body, fields: ["Content-Digest: " + ContentDigest.fieldValue(Digest.ofContent(body))])
  }

  private static func state(_ request: String) -> String? {
    guard let end = request.firstRange(of: "\r\n\r\n") else { return nil }
    return try? StateReport.decode(Array(request[end.upperBound...].utf8)).state
  }

  @Test("reports its state, comes back at the interval it is given, each time a little apart, and goes on to the next")
  func states() throws {
    let directory = try TemporaryDirectory()
    let answers = [
      try planAnswer("ready", interval: 100), try planAnswer("ready", next: "burn-in"), try planAnswer("burn-in"),
      try planAnswer("burn-in", wait: Plan.Wait(seconds: 7, reason: "busy")),
    ]
    let server = try ScriptedServer { _, number in .send(answers[number]) }
    try server.serving {
      var follower = StateFollower(record([server.endpoint]), directory: directory.path)
      #expect((90...110).contains(follower.turn()))
      #expect(follower.turn() == 0)
      #expect(follower.state == "burn-in")
      #expect((90...110).contains(follower.turn()))
      #expect((6.3...7.7).contains(follower.turn()))
    }
    #expect(server.requests.map(Self.state) == ["ready", "ready", "burn-in", "burn-in"])
  }

  @Test("goes round states for ever at their own pauses, and slows down those that have none")
  func circles() throws {
    let directory = try TemporaryDirectory()
    let paused = [try planAnswer("ready", next: "check", after: 600), try planAnswer("check", next: "ready")]
    let bare = [try planAnswer("ready", next: "check"), try planAnswer("check", next: "ready")]
    for (plans, last) in [(paused, [600, 0]), (bare, [60, 60])] as [([[UInt8]], [Double])] {
      let server = try ScriptedServer { _, number in .send(plans[number % 2]) }
      try server.serving {
        var follower = StateFollower(record([server.endpoint]), directory: directory.path)
        let pauses = (0..<20).map { _ in follower.turn() }
        #expect(zip(pauses.suffix(2), last).allSatisfy { $1 * 0.9...$1 * 1.1 ~= $0 }, "\(pauses)")
      }
    }
  }

  @Test("turns to the next appliance at once where one fails, and backs off where none answers")
  func severalAppliances() throws {
    let directory = try TemporaryDirectory()
    let good = try planAnswer("ready")
    let broken = try ScriptedServer { _, _ in .send(answer(500, Array("the disk is full\n".utf8))) }
    let second = try ScriptedServer { _, number in number == 0 ? .send(good) : .send(answer(503)) }
    try broken.serving {
      try second.serving {
        var follower = StateFollower(
          record([broken.endpoint, second.endpoint]), directory: directory.path,
          backoff: Backoff(first: 40, longest: 40))
        #expect(follower.turn() == 0)
        #expect(follower.server == second.endpoint)
        #expect((54...66).contains(follower.turn()))
        // Both fail now: the second, then the first, then it waits.
        #expect(follower.turn() == 0)
        #expect(follower.server == broken.endpoint)
        #expect((20...40).contains(follower.turn()))
        #expect(follower.server == second.endpoint)
      }
    }
    #expect(broken.requests.count == 2)
    #expect(second.requests.count == 2)
  }

  @Test("turns to an appliance that a plan has named when the one that named it dies, and so does the next client")
  func namedAppliance() throws {
    let directory = try TemporaryDirectory()
    let good = try planAnswer("ready")
    let second = try ScriptedServer { _, _ in .send(good) }
    let naming = try planAnswer("ready", others: [second.endpoint])
    let first = try ScriptedServer { _, number in number == 0 ? .send(naming) : .sendAndClose([]) }
    try first.serving {
      try second.serving {
        var follower = StateFollower(record([first.endpoint]), directory: directory.path)
        _ = follower.turn()
        #expect(follower.server == first.endpoint)
        #expect(follower.turn() == 0)
        #expect((54...66).contains(follower.turn()))
        #expect(follower.server == second.endpoint)
        // `perseid-node state WORD` is a client of its own: it reads what the first one left.
        let left = try ProtocolJSON.decode(
          NodeRecord.self, from: try SmallFile.read(directory.path + "/node.json"), limit: NodeRecord.sizeLimit)
        var another = StateFollower(left, directory: directory.path)
        #expect(try another.report("ready").state == "ready")
      }
    }
    #expect(second.requests.count == 2)
  }

  @Test("reports a state once for a script, to the first appliance that answers, and says no where none does")
  func once() throws {
    let directory = try TemporaryDirectory()
    let good = try planAnswer("drain")
    let gone = try ScriptedServer { _, _ in .sendAndClose([]) }
    let other = try ScriptedServer { _, number in number == 0 ? .send(good) : .send(answer(404, Array("who?\n".utf8))) }
    try gone.serving {
      try other.serving {
        var follower = StateFollower(record([gone.endpoint, other.endpoint]), directory: directory.path)
        let plan = try follower.report("drain")
        #expect(plan.state == "drain")
        var again = StateFollower(record([gone.endpoint, other.endpoint]), directory: directory.path)
        do {
          _ = try again.report("drain")
          Issue.record("nobody answered")
        } catch {
          #expect("\(error)".contains("who?"))
        }
      }
    }
  }

  @Test("follows one plan at a time, and tells a script of a plan that it cannot report another state")
  func oneAtATime() throws {
    let directory = try TemporaryDirectory()
    let good = try planAnswer("ready")
    let server = try ScriptedServer { _, _ in .send(good) }
    let record = record([server.endpoint])
    let path = directory.path
    try server.serving {
      let held = open(path + "/client.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
      #expect(flock(held, LOCK_EX) == 0)
      try ThreadScope.run { scope in
        let done = Monitor(false)
        try scope.start("client") {
          var follower = StateFollower(record, directory: path)
          _ = follower.turn()
          done.update { $0 = true }
        }
        #expect(server.requests.isEmpty && done.update { !$0 })
        close(held)
      }
      #expect(server.requests.count == 1)
    }
    #expect(NodeDaemon.isState("burn-in") && NodeDaemon.isState("a"))
    for word in ["", "Ready", "1st", "a b", "../a", String(repeating: "a", count: 33)] {
      #expect(!NodeDaemon.isState(word))
    }
  }

  @Test("says to every script of a plan that it is one")
  func variable() throws {
    let directory = try TemporaryDirectory()
    let output = directory.path + "/seen"
    let script = Array("#!/bin/sh\necho \"$PERSEID_PLAN $STATE\" > \(output)\n".utf8)
    let step = Step(
      name: "10-see", kind: .script, level: "all", length: Int64(script.count), digest: Digest.ofContent(script),
      onFailure: .stop)
    let plan = try planAnswer("ready", steps: [step])
    let server = try ScriptedServer { request, _ in
      request.hasPrefix("GET /blobs")
        ? .send(answer(200, script))
        : request.hasPrefix("POST /v1/events") ? .send(answer(204)) : .send(plan)
    }
    try server.serving {
      var follower = StateFollower(record([server.endpoint]), directory: directory.path)
      _ = follower.turn()
    }
    #expect(SmallFile.text(output) == "1 ready")
  }

  @Test("writes its lines with levels where systemd reads them, and into the kernel's log where nobody does")
  func journal() {
    #expect(Journal.text("a\nb", .warning, for: .journal) == "<4>a\n<4>b\n")
    #expect(Journal.text("a", .error, for: .standardError) == "perseid-node: a\n")
    #expect(Journal.text("a", .notice, for: .kernel) == "<29>perseid-node: a\n")
  }

  @Test("reads the record of a stage 1 that knew one appliance, and writes the others behind it")
  func handOver() throws {
    let first = Endpoint(address: IPv4Address(10, 0, 0, 1))
    let old = record([first])
    var json = String(decoding: try ProtocolJSON.encode(old), as: UTF8.self)
    json.replace(#""otherServers":[],"#, with: "")
    let read = try ProtocolJSON.decode(NodeRecord.self, from: Array(json.utf8), limit: NodeRecord.sizeLimit)
    #expect(read.otherServers == nil && read.server == first.address)
    let both = record([first, Endpoint(address: IPv4Address(10, 0, 0, 2), port: 99)])
    let again = try ProtocolJSON.decode(
      NodeRecord.self, from: try ProtocolJSON.encode(both), limit: NodeRecord.sizeLimit)
    #expect(again == both)
  }
}
