import CapsuleFormat
import Glibc
import StateClient

/// The threads of a `FramePipeline` that work on frames which were fetched.
struct FrameThreads: Sendable {
  let plan: FramePipeline
  let shared: Monitor<FramePipeline.Shared>

  private var frames: [Frame] { plan.index.frames }

  // MARK: - Decompressing

  /// Verifies and decompresses whole frames, any that are there, the first of them first.
  func decompress() {
    do {
      let decompressor = try ZstdDecompressor()
      while true {
        let work = shared.wait { state -> FramePipeline.Fetched?? in
          if state.isOver { return .some(nil) }
          guard let first = state.fetched.indices.min(by: { state.fetched[$0].number < state.fetched[$1].number })
          else { return nil }
          return .some(state.fetched.remove(at: first))
        }
        guard let work, let work else { return }
        let frame = frames[work.number]
        let before = Clock.threadTime
        let found = Digest.ofContent(UnsafeRawBufferPointer(work.bytes.bytes))
        guard found == frame.compressedDigest else {
          shared.update { refuse(work, found: found, &$0) }
          continue
        }
        let between = Clock.threadTime
        let count = Int(frame.uncompressedLength)
        let output = try shared.update { $0.spare.take(count: count) } ?? FrameBuffer(count: count)
        try decompressor.decompress(UnsafeRawBufferPointer(work.bytes.bytes), into: output.bytes)
        let after = Clock.threadTime
        shared.update { state in
          state.fetch.arrived(from: work.source)
          state.ready[work.number] = output
          state.spare.give(work.bytes)
          state.work.verifying += between - before
          state.work.decompressing += after - between
        }
      }
    } catch {
      shared.update { $0.fail(error) }
    }
  }

  /// A frame that is not what the index says is never decompressed: it is fetched again, so often.
  private func refuse(_ work: FramePipeline.Fetched, found: Digest, _ state: inout FramePipeline.Shared) {
    let count = state.fetch.corrupted(work.number, from: work.source)
    state.spare.give(work.bytes)
    let url = "http://\(plan.servers[work.source])\(StateClient.target(of: plan.blob.digest))"
    let fault =
      "frame \(work.number + 1) of \(frames.count) of \(url) is corrupted: "
      + "expected \(frames[work.number].compressedDigest), got \(found)"
    if count >= plan.corruptionLimit {
      state.fail(FrameCorrupted(description: "\(fault), \(count) times"))
    } else {
      state.notes.append("\(fault); it is fetched again")
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
