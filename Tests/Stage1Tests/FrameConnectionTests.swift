import CapsuleFormat
import Stage1
import StateClient
import TestSupport
import Testing

@Suite("The frame pipeline's connections")
struct FrameConnectionTests {
  typealias Blob = FramePipelineTests.Blob

  static func right(_ blob: Blob, _ request: String, _ change: (inout [UInt8]) -> Void = { _ in }) -> [UInt8] {
    let part = blob.part(request)
    var bytes = Array(part.bytes)
    change(&bytes)
    return answer(part.status, bytes, fields: part.fields)
  }

  /// The offset that a request begins with.
  static func start(_ request: String) -> Int {
    guard let range = request.firstRange(of: "Range: bytes=") else { return 0 }
    return Int(request[range.upperBound...].prefix { $0.isNumber }) ?? 0
  }

  func run(
    _ blob: Blob, from servers: [ScriptedServer], connections: Int = 4, memory: Int = 200_000, idle: Double = 30,
    slow: Double = 60
  ) throws -> (kept: [UInt8], notes: [String]) {
    let kept = Monitor([UInt8]())
    var notes: [String] = []
    var pipeline = FramePipeline(
      servers: servers.map(\.endpoint), blob: blob.descriptor, index: blob.index, workers: 2)
    pipeline.timeouts = HTTPTimeouts(connect: 30, idle: idle, whole: 60, slow: slow, slowest: 200)
    pipeline.retrySeconds = 0.01
    pipeline.connectionLimit = connections
    pipeline.bytesPerConnection = 1
    pipeline.memoryLimit = memory
    func serve(_ rest: ArraySlice<ScriptedServer>) throws {
      guard let first = rest.first else {
        return try pipeline.run(
          makeConsumer: { FramePipelineTests.Keeper(kept: kept) }, watch: { notes += $0.notes })
      }
      try first.serving { try serve(rest.dropFirst()) }
    }
    try serve(servers[...])
    return (kept.update { $0 }, notes)
  }

  @Test("are several at once, and the stream is still in order")
  func several() throws {
    let blob = try Blob(frames: 40, frameBytes: 20_000)
    let arrived = Monitor(0)
    let server = try ScriptedServer { request, number in
      // Nobody is answered before four have asked.
      arrived.update { $0 += 1 }
      _ = arrived.wait(seconds: 60) { $0 >= 4 ? true : nil }
      return .send(Self.right(blob, request))
    }
    let (kept, notes) = try run(blob, from: [server])
    #expect(kept == blob.content)
    #expect(notes.isEmpty)
    #expect(server.connections == 4)
    #expect(server.requests.count > 4)
  }

  @Test("are one for a blob that is not worth more")
  func oneForSmall() throws {
    let blob = try Blob(frames: 4, frameBytes: 1000)
    let pipeline = FramePipeline(servers: [], blob: blob.descriptor, index: blob.index)
    #expect(pipeline.connections == 1)
  }

  @Test("do each other's frames where some break off, at any place, again and again")
  func breakOff() throws {
    let blob = try Blob(frames: 40, frameBytes: 20_000)
    let server = try ScriptedServer { request, number in
      let whole = Self.right(blob, request)
      return number % 3 == 1 && number < 30 ? .sendAndClose(Array(whole.prefix(150 + number * 500))) : .send(whole)
    }
    let (kept, notes) = try run(blob, from: [server])
    #expect(kept == blob.content)
    #expect(!notes.isEmpty && notes.allSatisfy { $0.contains("going on with frame") })
  }

  @Test("leave an appliance that stalls in mid-frame for the next of the list")
  func stalls() throws {
    let blob = try Blob(frames: 30, frameBytes: 20_000)
    let dead = try ScriptedServer { request, _ in .sendAndStall(Array(Self.right(blob, request).prefix(5000))) }
    let alive = try ScriptedServer { request, _ in .send(Self.right(blob, request)) }
    let (kept, notes) = try run(blob, from: [dead, alive], idle: 1)
    #expect(kept == blob.content)
    #expect(notes.contains { $0.contains("nothing for 1.0 s") && $0.contains("from \(alive.endpoint)") })
    #expect(!alive.requests.isEmpty)
  }

  @Test("leave an appliance that drips a few bytes a second for the next of the list, and say so")
  func drips() throws {
    let blob = try Blob(frames: 30, frameBytes: 20_000)
    let dripping = try ScriptedServer { request, _ in .drip(Self.right(blob, request), seconds: 0.02) }
    let alive = try ScriptedServer { request, _ in .send(Self.right(blob, request)) }
    let (kept, notes) = try run(blob, from: [dripping, alive], slow: 3)
    #expect(kept == blob.content)
    #expect(notes.contains { $0.contains("at least 200 bytes a second") && $0.contains("from \(alive.endpoint)") })
  }

  @Test("take another connection to the one appliance there is where one drips")
  func dripsOnce() throws {
    let blob = try Blob(frames: 30, frameBytes: 20_000)
    let server = try ScriptedServer { request, number in
      let whole = Self.right(blob, request)
      return number == 0 ? .drip(whole, seconds: 0.02) : .send(whole)
    }
    let (kept, notes) = try run(blob, from: [server], slow: 3)
    #expect(kept == blob.content)
    #expect(notes.contains { $0.contains("at least 200 bytes a second") && $0.contains("going on with frame ") })
    // What one connection did not get is asked for again, whole.
    let start = try #require(server.requests.first?.firstMatch(of: /bytes=(\d+)-/)?.1)
    #expect(server.requests.dropFirst().contains { $0.contains("bytes=\(start)-") })
  }

  @Test("leave an appliance without the blob at once, and ask it nothing more")
  func lacksBlob() throws {
    let blob = try Blob(frames: 30, frameBytes: 20_000)
    let without = try ScriptedServer { _, _ in .send(answer(404, Array("no such blob".utf8))) }
    let with = try ScriptedServer { request, _ in .send(Self.right(blob, request)) }
    let (kept, notes) = try run(blob, from: [without, with])
    #expect(kept == blob.content)
    #expect(notes.contains { $0.contains("status 404") })
    #expect(without.requests.count <= 4)
  }

  @Test("take a frame that one appliance has corrupted from another")
  func corruptedAtOne() throws {
    let blob = try Blob(frames: 40, frameBytes: 20_000)
    let bad = Int(blob.index.frames[17].offset) + 9
    let first = try ScriptedServer { request, _ in
      let start = Self.start(request)
      return .send(Self.right(blob, request) { if $0.indices.contains(bad - start) { $0[bad - start] ^= 1 } })
    }
    let second = try ScriptedServer { request, _ in .send(Self.right(blob, request)) }
    let (kept, notes) = try run(blob, from: [first, second])
    #expect(kept == blob.content)
    #expect(notes.contains { $0.contains("frame 18 of 40") && $0.contains("is corrupted") })
    #expect(second.requests.contains { Self.start($0) == Int(blob.index.frames[17].offset) })
    #expect(!first.requests.isEmpty)
  }

  @Test("give up where every appliance is without the blob, with the reason")
  func nobodyHasIt() throws {
    let blob = try Blob(frames: 30, frameBytes: 20_000)
    let one = try ScriptedServer { _, _ in .send(answer(404)) }
    let two = try ScriptedServer { _, _ in .send(answer(410)) }
    let error = #expect(throws: HTTPError.self) { try run(blob, from: [one, two]) }
    #expect(error?.description.contains("status 4") == true)
  }
}
