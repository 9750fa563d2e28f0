import CapsuleFormat
import Glibc
import Stage1
import StateClient
import TestSupport
import Testing

@Suite("The frame pipeline")
struct FramePipelineTests {
  /// A stream of known bytes, cut into compressed frames.
  struct Blob: Sendable {
    var content: [UInt8] = []
    var bytes: [UInt8] = []
    var index = FrameIndex(frames: [])

    init(frames: Int, frameBytes: Int) throws {
      let compressor = try ZstdCompressor(level: 1)
      var seed: UInt64 = 42
      for number in 0..<frames {
        let piece = (0..<frameBytes).map { place -> UInt8 in
          seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
          return place.isMultiple(of: 3) ? UInt8(truncatingIfNeeded: seed >> 56) : UInt8(truncatingIfNeeded: number)
        }
        let frame = try compressor.compress(piece)
        index.frames.append(
          Frame(
            offset: UInt64(bytes.count), compressedLength: UInt32(frame.count), uncompressedLength: UInt32(frameBytes),
            compressedDigest: Digest.ofContent(frame), uncompressedDigest: Digest.ofContent(piece)))
        content += piece
        bytes += frame
      }
    }

    var descriptor: Descriptor {
      Descriptor(mediaType: MediaType.rootFileSystem, digest: Digest.ofContent(bytes), size: Int64(bytes.count))
    }

    /// What a right server answers.
    func part(_ request: String) -> (bytes: ArraySlice<UInt8>, fields: [String], status: Int) {
      guard let range = request.firstRange(of: "Range: bytes=") else { return (bytes[...], [], 200) }
      let ends = request[range.upperBound...].prefix { $0.isNumber || $0 == "-" }.split(separator: "-").compactMap {
        Int($0)
      }
      return (bytes[ends[0]...ends[1]], ["Content-Range: bytes \(ends[0])-\(ends[1])/\(bytes.count)"], 206)
    }
  }

  /// Keeps what it is given.
  struct Keeper: FrameConsumer {
    let kept: Monitor<[UInt8]>
    var refusesAt = Int.max

    mutating func consume(_ bytes: UnsafeRawBufferPointer) throws {
      let count = kept.update { kept -> Int in
        kept += bytes
        return kept.count
      }
      if count > refusesAt { throw SystemError("write", code: ENOSPC) }
    }

    mutating func finish() throws {}
  }

  func run(
    _ blob: Blob, from server: ScriptedServer, refusesAt: Int = .max, limit: Int = 48 << 20
  ) throws -> (kept: [UInt8], notes: [String]) {
    let kept = Monitor([UInt8]())
    var notes: [String] = []
    var pipeline = FramePipeline(servers: [server.endpoint], blob: blob.descriptor, index: blob.index, workers: 3)
    pipeline.timeouts = HTTPTimeouts(connect: 2, idle: 1, whole: 5)
    pipeline.retrySeconds = 0.01
    pipeline.patience = 3
    pipeline.memoryLimit = limit
    try server.serving {
      try pipeline.run(
        makeConsumer: { Keeper(kept: kept, refusesAt: refusesAt) }, watch: { notes += $0.notes })
    }
    return (kept.update { $0 }, notes)
  }

  @Test("delivers the stream in order, in one request")
  func delivers() throws {
    let blob = try Blob(frames: 40, frameBytes: 20_000)
    let server = try ScriptedServer { request, _ in
      let part = blob.part(request)
      return .send(answer(part.status, Array(part.bytes), fields: part.fields))
    }
    let (kept, notes) = try run(blob, from: server)
    #expect(kept == blob.content)
    #expect(notes.isEmpty)
    #expect(server.requests.count == 1)
  }

  @Test("gets through with less memory than one frame takes")
  func boundsMemory() throws {
    let blob = try Blob(frames: 10, frameBytes: 20_000)
    let server = try ScriptedServer { request, _ in
      let part = blob.part(request)
      return .send(answer(part.status, Array(part.bytes), fields: part.fields))
    }
    #expect(try run(blob, from: server, limit: 1000).kept == blob.content)
  }

  @Test("goes on with the frame in which a connection broke, and says so")
  func resumes() throws {
    let blob = try Blob(frames: 20, frameBytes: 20_000)
    let server = try ScriptedServer { request, number in
      let part = blob.part(request)
      let whole = answer(part.status, Array(part.bytes), fields: part.fields)
      // Each connection ends after 40 kB, in the middle of some frame, until little is left.
      return whole.count > 40_000 ? .sendAndClose(Array(whole.prefix(40_000))) : .send(whole)
    }
    let (kept, notes) = try run(blob, from: server)
    #expect(kept == blob.content)
    #expect(server.requests.count > 3)
    #expect(notes.allSatisfy { $0.contains("going on with frame") } && notes.count == server.requests.count - 1)
    let starts = Set(blob.index.frames.map { "Range: bytes=\($0.offset)-" })
    for request in server.requests.dropFirst() { #expect(starts.contains { request.contains($0) }) }
  }

  @Test("refuses a corrupted frame, fetches it again by itself, and says so")
  func refetchesCorrupted() throws {
    let blob = try Blob(frames: 12, frameBytes: 20_000)
    let bad = blob.index.frames[5]
    let server = try ScriptedServer { request, number in
      let part = blob.part(request)
      var bytes = Array(part.bytes)
      if number == 0 { bytes[Int(bad.offset) + 100] ^= 1 }
      return .send(answer(part.status, bytes, fields: part.fields))
    }
    let (kept, notes) = try run(blob, from: server)
    #expect(kept == blob.content)
    #expect(notes.count == 1)
    #expect(notes.first?.contains("frame 6 of 12") == true && notes.first?.contains("is corrupted") == true)
    #expect(server.requests.count == 2)
    #expect(
      server.requests[1].contains("Range: bytes=\(bad.offset)-\(bad.offset + UInt64(bad.compressedLength) - 1)\r\n"))
  }

  @Test("gives up on a frame that stays corrupted, and consumes nothing of it or behind it")
  func givesUpOnCorrupted() throws {
    let blob = try Blob(frames: 6, frameBytes: 20_000)
    let bad = Int(blob.index.frames[2].offset) + 50
    var broken = blob
    broken.bytes[bad] ^= 0x80
    let server = try ScriptedServer { [broken] request, _ in
      let part = broken.part(request)
      return .send(answer(part.status, Array(part.bytes), fields: part.fields))
    }
    let kept = Monitor([UInt8]())
    var pipeline = FramePipeline(servers: [server.endpoint], blob: blob.descriptor, index: blob.index, workers: 2)
    pipeline.retrySeconds = 0.01
    try server.serving {
      let error = #expect(throws: FrameCorrupted.self) {
        try pipeline.run(makeConsumer: { Keeper(kept: kept) }, watch: { _ in })
      }
      #expect(error?.description.contains("frame 3 of 6") == true)
    }
    #expect(kept.update { $0 } == Array(blob.content.prefix(kept.update { $0.count })))
    #expect(kept.update { $0.count } <= 40_000)
  }

  @Test("ends at once where the appliance does not have the blob")
  func endsWithoutBlob() throws {
    let blob = try Blob(frames: 2, frameBytes: 1000)
    let server = try ScriptedServer { _, _ in .send(answer(404, Array("no such blob".utf8))) }
    #expect(throws: HTTPError.self) { try run(blob, from: server) }
    #expect(server.requests.count == 1)
  }

  @Test("ends with the reason where the tree cannot be written, and every thread with it")
  func endsWithConsumer() throws {
    let blob = try Blob(frames: 30, frameBytes: 20_000)
    let server = try ScriptedServer { request, _ in
      let part = blob.part(request)
      return .send(answer(part.status, Array(part.bytes), fields: part.fields))
    }
    #expect(throws: SystemError("write", code: ENOSPC)) { try run(blob, from: server, refusesAt: 50_000) }
  }

  @Test("a tree in frames is unpacked through the whole pipeline", .enabled(if: geteuid() == 0))
  func unpacksTree() throws {
    let place = try Workplace()
    try place.shell(
      "mkdir in; for i in $(seq 1 50); do mkdir in/d$i; head -c 30000 /dev/urandom > in/d$i/f; done; tar --format=posix -C in -cf t.tar ."
    )
    let tar = try SmallFile.read("\(place.path)/t.tar", limit: 64 << 20)
    var blob = try Blob(frames: 0, frameBytes: 0)
    let compressor = try ZstdCompressor(level: 1)
    for start in stride(from: 0, to: tar.count, by: 65_537) {
      let piece = Array(tar[start..<min(start + 65_537, tar.count)])
      let frame = try compressor.compress(piece)
      blob.index.frames.append(
        Frame(
          offset: UInt64(blob.bytes.count), compressedLength: UInt32(frame.count),
          uncompressedLength: UInt32(piece.count), compressedDigest: Digest.ofContent(frame),
          uncompressedDigest: Digest.ofContent(piece)))
      blob.bytes += frame
    }
    mkdir("\(place.path)/out", 0o755)
    let server = try ScriptedServer { [blob] request, _ in
      let part = blob.part(request)
      return .send(answer(part.status, Array(part.bytes), fields: part.fields))
    }
    let pipeline = FramePipeline(servers: [server.endpoint], blob: blob.descriptor, index: blob.index)
    let target = place.path + "/out"
    try server.serving {
      try pipeline.run(makeConsumer: { try TreeConsumer(target) }, watch: { _ in })
    }
    #expect(try place.listing("out") == place.listing("in"))
  }
}
