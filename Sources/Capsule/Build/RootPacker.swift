import CapsuleFormat

/// Compresses a tree's tar stream into frames on every core and stores them as one blob.
struct RootPacker {
  let store: ContentStore
  let cutter = FrameCutter()
  let compressors: CompressorPool
  /// Frames being compressed at once; memory is about twice the frame limit for each.
  let width: Int
  let known: KnownFrames

  struct Result {
    /// Sealed, not yet published.
    var writer: BlobWriter
    var blob: Descriptor
    var index: FrameIndex
    var spans: [BuildRecord.Span]
  }

  /// A frame that was to be copied is damaged on the disk: the build has to begin again without earlier ones.
  struct DamagedFrame: Error {}

  private struct PackedFrame: Sendable {
    var number: Int
    var bytes: [UInt8]
    var uncompressedLength: Int
    var uncompressedDigest: Digest
    var compressedDigest: Digest
    /// Of `bytes` (`BlockSum`).
    var sum: UInt64
    var isCopied: Bool

    init(number: Int, copied frame: Frame, bytes: [UInt8], sum: UInt64) {
      self.number = number
      self.bytes = bytes
      uncompressedLength = Int(frame.uncompressedLength)
      uncompressedDigest = frame.uncompressedDigest
      compressedDigest = frame.compressedDigest
      self.sum = sum
      isCopied = true
    }

    init(number: Int, content: [UInt8], digest: Digest, compressed: [UInt8]) {
      self.number = number
      bytes = compressed
      uncompressedLength = content.count
      uncompressedDigest = digest
      compressedDigest = Digest(of: compressed)
      sum = BlockSum.of(compressed)
      isCopied = false
    }
  }

  func pack(_ tree: FileTree, _ plan: StreamPlan, progress: @escaping ProgressHandler) async throws -> sending Result {
    let writer = try store.writer()
    var frames: [Frame] = []
    var sums: [UInt64] = []
    var packed: [Int: PackedFrame] = [:]
    var completed: Int64 = 0
    var copied = 0

    func append(_ frame: PackedFrame) throws {
      packed[frame.number] = frame
      while let frame = packed.removeValue(forKey: frames.count) {
        frames.append(
          Frame(
            offset: UInt64(writer.count), compressedLength: UInt32(frame.bytes.count),
            uncompressedLength: UInt32(frame.uncompressedLength), compressedDigest: frame.compressedDigest,
            uncompressedDigest: frame.uncompressedDigest))
        sums.append(frame.sum)
        try writer.write(frame.bytes)
        completed += Int64(frame.uncompressedLength)
        if frame.isCopied { copied += 1 }
      }
      progress(
        BuildProgress(
          phase: .packing, completedBytes: completed, totalBytes: Int64(clamping: plan.length), copiedFrames: copied))
    }

    try await withThrowingTaskGroup(of: PackedFrame.self) { group in
      var window = StreamWindow(TarStream(tree, plan))
      var position: UInt64 = 0
      var number = 0
      var running = 0
      while position < plan.length {
        try Task.checkCancellation()
        if running == width, let frame = try await group.next() {
          running -= 1
          try append(frame)
        }
        guard number < FrameIndex.countLimit else {
          throw CapsuleError(
            .badSource, "The tree is too large: its tar stream has more than \(FrameIndex.countLimit) frames",
            remedy: "Take large data out of the tree and mount it on the nodes instead")
        }
        if let known = known.frame(at: position, of: plan) {
          position += UInt64(known.frame.uncompressedLength)
          group.addTask { [number] in
            guard let (bytes, sum) = known.read() else { throw DamagedFrame() }
            return PackedFrame(number: number, copied: known.frame, bytes: bytes, sum: sum)
          }
        } else {
          let bytes = try window.next(at: position, cutter)
          position += UInt64(bytes.count)
          group.addTask { [number] in try compress(bytes, number: number) }
        }
        number += 1
        running += 1
      }
      while let frame = try await group.next() { try append(frame) }
    }
    let blob = try writer.seal(mediaType: MediaType.rootFileSystem)
    let index = FrameIndex(frames: frames)
    return Result(writer: writer, blob: blob, index: index, spans: Self.spans(of: index, sums, plan))
  }

  private func compress(_ content: [UInt8], number: Int) throws -> PackedFrame {
    let digest = Digest(of: content)
    if let found = known.bytes(of: digest), Int(found.frame.uncompressedLength) == content.count {
      return PackedFrame(number: number, copied: found.frame, bytes: found.bytes, sum: found.sum)
    }
    let compressed = try compressors.compress(content)
    return PackedFrame(number: number, content: content, digest: digest, compressed: compressed)
  }

  /// What each frame depends on, for the next build.
  private static func spans(of index: FrameIndex, _ sums: [UInt64], _ plan: StreamPlan) -> [BuildRecord.Span] {
    var position: UInt64 = 0
    var spans: [BuildRecord.Span] = []
    for (frame, sum) in zip(index.frames, sums) {
      let end = position + UInt64(frame.uncompressedLength)
      let entries = plan.entry(at: end - 1) - plan.entry(at: position) + 1
      guard let start = plan.span(from: position, entries: 1), let all = plan.span(from: position, entries: entries)
      else { return [] }
      spans.append(BuildRecord.Span(start: start, all: all, entries: entries, sum: sum))
      position = end
    }
    return spans
  }
}

/// The part of the stream that is cut next, and what has been read behind it.
private struct StreamWindow: ~Copyable {
  private var stream: TarStream
  private let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 8 * FrameCutter.limit, alignment: 4096)
  /// The bytes of `memory` that are in use, and where in the stream they are.
  private var used = 0..<0
  private var position: UInt64 = 0

  init(_ stream: consuming TarStream) {
    self.stream = stream
  }

  deinit {
    memory.deallocate()
  }

  /// The bytes of the frame that begins at `start`, which never lies before what was asked for last.
  mutating func next(at start: UInt64, _ cutter: FrameCutter) throws -> [UInt8] {
    let skipped = start - position
    if skipped <= UInt64(used.count) {
      used = used.lowerBound + Int(skipped)..<used.upperBound
    } else {
      used = 0..<0
      try stream.seek(to: start)
    }
    position = start
    var atEnd = false
    if used.count < FrameCutter.limit {
      if used.lowerBound > 0 {
        memory.copyMemory(from: UnsafeRawBufferPointer(rebasing: memory[used]))
        used = 0..<used.count
      }
      let room = UnsafeMutableRawBufferPointer(rebasing: memory[used.upperBound...])
      let count = try stream.fill(room)
      used = 0..<used.upperBound + count
      atEnd = used.count < FrameCutter.limit
    }
    let bytes = UnsafeRawBufferPointer(rebasing: memory[used])
    guard let length = cutter.cut(bytes, atEnd: atEnd) else { preconditionFailure("a whole frame was gathered") }
    let frame = Array(bytes[..<length])
    used = used.lowerBound + length..<used.upperBound
    position += UInt64(length)
    return frame
  }
}
