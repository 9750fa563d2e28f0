import CapsuleFormat
import Glibc
import StateClient

/// The three kinds of threads of a `FramePipeline`.
struct FrameThreads: Sendable {
  let plan: FramePipeline
  let shared: Monitor<FramePipeline.Shared>

  private var frames: [Frame] { plan.index.frames }
  private var target: String { StateClient.target(of: plan.blob.digest) }
  private var url: String { "http://\(plan.server)\(target)" }

  // MARK: - Fetching

  /// Streams the blob from the first frame on; after a failure from the frame that was not complete.
  func fetch() {
    var next = 0
    var backoff = Backoff(first: plan.retrySeconds, longest: 15)
    var lastProgress = Clock.now
    while next < frames.count {
      let before = next
      do {
        try stream(from: &next)
      } catch {
        if shared.update({ $0.isOver }) { return }
        if next > before {
          backoff.reset()
          lastProgress = Clock.now
        }
        guard Clock.now - lastProgress < plan.patience, Self.canRetry(error) else {
          shared.update { $0.fail(error) }
          return
        }
        let wait = backoff.next()
        let note = "\(error); going on with frame \(next + 1) of \(frames.count) in \(Int(wait.rounded(.up))) s"
        shared.update { $0.notes.append(note) }
        if shared.wait(seconds: wait, for: { $0.isOver ? true : nil }) != nil { return }
      }
    }
  }

  /// Whether asking again can bring another answer.
  private static func canRetry(_ error: any Error) -> Bool {
    guard let error = error as? HTTPError, case .status(let status) = error.kind else { return error is HTTPError }
    return status >= 500 || status == 408 || status == 429
  }

  /// - Parameter next: The frame to begin with; the first incomplete one when it throws.
  private func stream(from next: inout Int) throws {
    var connection = HTTPConnection(server: plan.server, timeouts: plan.timeouts)
    try begin(&connection, offset: frames[next].offset, length: plan.index.compressedLength - frames[next].offset)
    while next < frames.count {
      let frame = frames[next]
      let cost = plan.cost(frame)
      let limit = plan.memoryLimit
      let goesOn = shared.wait { state -> Bool? in
        if state.isOver { return false }
        guard state.bytesInFlight == 0 || state.bytesInFlight + cost <= limit else { return nil }
        state.bytesInFlight += cost
        return true
      }
      guard goesOn == true else { throw Stopped() }
      let before = Clock.threadTime
      let buffer = buffer(count: Int(frame.compressedLength))
      do {
        try connection.readExactly(into: buffer.bytes)
      } catch {
        shared.update { $0.bytesInFlight -= cost }
        throw error
      }
      let number = next
      let spent = Clock.threadTime - before
      shared.update { state in
        state.fetched.append((number, buffer))
        state.work.fetching += spent
      }
      next += 1
    }
  }

  private struct Stopped: Error {}

  private func buffer(count: Int) -> FrameBuffer {
    shared.update { $0.spare.take(count: count) } ?? FrameBuffer(count: count)
  }

  /// Asks for a part of the blob, and checks that it is that part which comes.
  private func begin(_ connection: inout HTTPConnection, offset: UInt64, length: UInt64) throws(HTTPError) {
    let isWhole = offset == 0 && length == plan.index.compressedLength
    let range = "bytes=\(offset)-\(offset + length - 1)"
    let head = try connection.begin(HTTPRequest("GET", target, fields: isWhole ? [:] : ["Range": range]))
    let expected = isWhole ? 200 : 206
    guard head.status == expected else {
      connection.close()
      throw HTTPError(
        .status(head.status), request: "GET \(url) (\(range))", expected: "status \(expected)",
        came: "status \(head.status)")
    }
    if !isWhole {
      let field = head.value(of: "content-range") ?? "no Content-Range"
      guard field.hasPrefix("bytes \(offset)-\(offset + length - 1)/") else {
        connection.close()
        throw HTTPError(.malformed, request: "GET \(url)", expected: "bytes \(range.dropFirst(6))", came: field)
      }
    }
  }

  // MARK: - Decompressing

  /// Verifies and decompresses whole frames, any that are there.
  func decompress() {
    do {
      let decompressor = try ZstdDecompressor()
      while true {
        let work = shared.wait { state -> (number: Int, bytes: FrameBuffer)?? in
          if state.isOver { return .some(nil) }
          return state.fetched.isEmpty ? nil : .some(state.fetched.removeFirst())
        }
        guard let work, let work else { return }
        let frame = frames[work.number]
        let before = Clock.threadTime
        let compressed = try verified(work.bytes, frame, work.number)
        let between = Clock.threadTime
        let output = buffer(count: Int(frame.uncompressedLength))
        try decompressor.decompress(UnsafeRawBufferPointer(compressed.bytes), into: output.bytes)
        let after = Clock.threadTime
        shared.update { state in
          state.ready[work.number] = output
          state.spare.give(compressed)
          state.work.verifying += between - before
          state.work.decompressing += after - between
        }
      }
    } catch {
      shared.update { $0.fail(error) }
    }
  }

  private func verified(_ bytes: FrameBuffer, _ frame: Frame, _ number: Int) throws -> FrameBuffer {
    var buffer = bytes
    var attempt = 1
    var backoff = Backoff(first: plan.retrySeconds, longest: 15)
    while true {
      let found = Digest.ofContent(UnsafeRawBufferPointer(buffer.bytes))
      if found == frame.compressedDigest { return buffer }
      let fault =
        "frame \(number + 1) of \(frames.count) of \(url) is corrupted: expected \(frame.compressedDigest), got \(found)"
      guard attempt < plan.corruptionLimit else {
        throw FrameCorrupted(description: "\(fault), \(attempt) times")
      }
      attempt += 1
      shared.update { $0.notes.append("\(fault); it is fetched again") }
      buffer = try again(frame, &backoff)
    }
  }

  /// Fetches one frame by itself.
  private func again(_ frame: Frame, _ backoff: inout Backoff) throws -> FrameBuffer {
    let deadline = Clock.now + plan.patience
    while true {
      do {
        var connection = HTTPConnection(server: plan.server, timeouts: plan.timeouts)
        let buffer = FrameBuffer(count: Int(frame.compressedLength))
        try begin(&connection, offset: frame.offset, length: UInt64(frame.compressedLength))
        try connection.readExactly(into: buffer.bytes)
        return buffer
      } catch {
        guard Clock.now < deadline, Self.canRetry(error) else { throw error }
        if shared.wait(seconds: backoff.next(), for: { $0.isOver ? true : nil }) != nil { throw error }
      }
    }
  }

  // MARK: - Consuming

  /// Hands the frames on in their order.
  func consume<Consumer: FrameConsumer>(_ make: @Sendable () throws -> Consumer) {
    do {
      var consumer = try make()
      for (number, frame) in frames.enumerated() {
        let buffer = shared.wait { state -> FrameBuffer?? in
          if state.isOver { return .some(nil) }
          return state.ready.removeValue(forKey: number).map { .some($0) }
        }
        guard let buffer, let buffer else { return }
        let before = Clock.threadTime
        try consumer.consume(UnsafeRawBufferPointer(buffer.bytes))
        let cost = plan.cost(frame)
        let spent = Clock.threadTime - before
        shared.update { state in
          state.spare.give(buffer)
          state.work.unpacking += spent
          state.bytesInFlight -= cost
          state.done += Int64(frame.uncompressedLength)
        }
      }
      try consumer.finish()
      shared.update { $0.isConsumed = true }
    } catch {
      shared.update { $0.fail(error) }
    }
  }
}
