import CapsuleFormat

/// Compresses a tree's tar stream into frames on every core and stores them as one blob.
struct RootPacker {
  let store: ContentStore
  let cutter = FrameCutter()
  let compressionLevel: Int
  /// Frames being compressed at once; memory is about twice the frame limit for each.
  let width: Int

  struct Result {
    /// Sealed, not yet published.
    var writer: BlobWriter
    var blob: Descriptor
    var index: FrameIndex
  }

  private struct PackedFrame: Sendable {
    var number: Int
    var bytes: [UInt8]
    var uncompressedLength: Int
    var uncompressedDigest: Digest
    var compressedDigest: Digest
  }

  func pack(_ tree: FileTree, progress: @escaping ProgressHandler) async throws -> Result {
    let total = tree.items.reduce(Int64(TarWriter.end.count)) { sum, item in
      sum + 512 + Int64(item.entry.size) + Int64(TarWriter.padding(after: item.entry.size))
    }
    let writer = try store.writer()
    var frames: [Frame] = []
    var stream = TarStream(tree)
    var packed: [Int: PackedFrame] = [:]
    var completed: Int64 = 0

    func append(_ frame: PackedFrame) throws {
      packed[frame.number] = frame
      while let frame = packed.removeValue(forKey: frames.count) {
        frames.append(
          Frame(
            offset: UInt64(writer.count), compressedLength: UInt32(frame.bytes.count),
            uncompressedLength: UInt32(frame.uncompressedLength), compressedDigest: frame.compressedDigest,
            uncompressedDigest: frame.uncompressedDigest))
        try writer.write(frame.bytes)
        completed += Int64(frame.uncompressedLength)
      }
      progress(BuildProgress(phase: .packing, completedBytes: completed, totalBytes: max(total, completed)))
    }

    try await withThrowingTaskGroup(of: PackedFrame.self) { group in
      var gathered = FrameBuffer(capacity: cutter.limit)
      var number = 0
      var running = 0
      var atEnd = false
      while !atEnd || gathered.count > 0 {
        try Task.checkCancellation()
        if !atEnd { atEnd = try gathered.fill(from: &stream) }
        guard let length = gathered.withBytes({ cutter.cut($0, atEnd: atEnd) }) else { continue }
        if running == width, let frame = try await group.next() {
          running -= 1
          try append(frame)
        }
        guard number < FrameIndex.countLimit else {
          throw CapsuleError(
            .badSource, "The tree is too large: its tar stream has more than \(FrameIndex.countLimit) frames",
            remedy: "Take large data out of the tree and mount it on the nodes instead")
        }
        let bytes = gathered.removeFirst(length)
        let level = compressionLevel
        group.addTask { [number] in try Self.compress(bytes, number: number, level: level) }
        number += 1
        running += 1
      }
      while let frame = try await group.next() { try append(frame) }
    }
    let blob = try writer.seal(mediaType: MediaType.rootFileSystem)
    return Result(writer: writer, blob: blob, index: FrameIndex(frames: frames))
  }

  private static func compress(_ bytes: [UInt8], number: Int, level: Int) throws -> PackedFrame {
    let compressed = try ZstdCompressor(level: level).compress(bytes)
    return PackedFrame(
      number: number, bytes: compressed, uncompressedLength: bytes.count, uncompressedDigest: Digest(of: bytes),
      compressedDigest: Digest(of: compressed))
  }
}

/// Bytes of the stream that are not yet in a frame.
private struct FrameBuffer {
  private var bytes: [UInt8] = []
  private let capacity: Int

  init(capacity: Int) {
    self.capacity = capacity
  }

  var count: Int { bytes.count }

  func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result { bytes.withUnsafeBytes(body) }

  /// Fills up from the stream.
  ///
  /// - Returns: Whether the stream has ended.
  mutating func fill(from stream: inout TarStream) throws -> Bool {
    let old = bytes
    var failure: (any Error)?
    bytes = [UInt8](unsafeUninitializedCapacity: capacity) { buffer, count in
      _ = buffer.initialize(from: old)
      count = old.count
      let room = UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[old.count...])
      do { count += try stream.fill(room) } catch { failure = error }
    }
    if let failure { throw failure }
    return bytes.count < capacity
  }

  mutating func removeFirst(_ length: Int) -> [UInt8] {
    if length == bytes.count {
      defer { bytes = [] }
      return bytes
    }
    defer { bytes.removeFirst(length) }
    return Array(bytes.prefix(length))
  }
}
