import CapsuleFormat

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Frames that earlier builds have compressed already: copied out of their blobs instead.
struct KnownFrames: Sendable {
  /// A frame in a blob that stays open, whoever deletes it meanwhile.
  struct Known: Sendable {
    fileprivate let blob: OpenBlob
    let frame: Frame
    /// Of the compressed bytes, where the record of a build here has it.
    fileprivate var sum: UInt64?
  }

  private struct Remembered: Sendable {
    var known: Known
    var all: Digest
    var entries: Int
  }

  /// Of the last build of the same source, by where they begin.
  private var remembered: [Digest: Remembered] = [:]
  private var byContent: [Digest: Known] = [:]

  static let none = KnownFrames()

  private init() {}

  /// - Parameters:
  ///   - own: The record of the last build of the same source.
  ///   - others: Of other sources.
  init(own: BuildRecord?, others: [BuildRecord], store: ContentStore) {
    for record in others.reversed() + (own.map { [$0] } ?? []) {
      guard let blob = OpenBlob(record.root, store: store),
        let bytes = try? store.read(record.frameIndex.digest, limit: FrameIndex.sizeLimit),
        let index = try? FrameIndex(decoding: bytes), Int64(clamping: index.compressedLength) == record.root.size
      else { continue }
      for frame in index.frames { byContent[frame.uncompressedDigest] = Known(blob: blob, frame: frame) }
    }
    guard let own, let bytes = try? store.read(own.frameIndex.digest, limit: FrameIndex.sizeLimit),
      let index = try? FrameIndex(decoding: bytes), index.frames.count == own.spans.count
    else { return }
    for (span, frame) in zip(own.spans, index.frames) {
      guard var known = byContent[frame.uncompressedDigest] else { continue }
      known.sum = known.frame == frame ? span.sum : nil
      remembered[span.start] = Remembered(known: known, all: span.all, entries: span.entries)
    }
  }

  /// The frame that begins at a position, where everything that it is made of is as it was.
  ///
  /// A frame's end depends on its bytes alone, so it is the one that would be cut here now.
  func frame(at position: UInt64, of plan: StreamPlan) -> Known? {
    guard !remembered.isEmpty, let start = plan.span(from: position, entries: 1), let found = remembered[start],
      plan.span(from: position, entries: found.entries) == found.all
    else { return nil }
    return found.known
  }

  /// The compressed bytes of a frame with this content; `nil` where there is none, or where they are damaged.
  func bytes(of content: Digest) -> (frame: Frame, bytes: [UInt8], sum: UInt64)? {
    guard let known = byContent[content], let (bytes, sum) = known.read() else { return nil }
    return (known.frame, bytes, sum)
  }
}

extension KnownFrames.Known {
  /// The compressed bytes; `nil` where they are not what the index says.
  func read() -> (bytes: [UInt8], sum: UInt64)? {
    guard let bytes = blob.read(at: Int64(clamping: frame.offset), count: Int(frame.compressedLength))
    else { return nil }
    let found = BlockSum.of(bytes)
    // Without a sum to compare with, the digest says it.
    guard sum.map({ $0 == found }) ?? (Digest(of: bytes) == frame.compressedDigest) else { return nil }
    return (bytes, found)
  }
}

/// A blob's file, held open.
final class OpenBlob: Sendable {
  private let file: FileDescriptor

  init?(_ descriptor: Descriptor, store: ContentStore) {
    guard let file = FileDescriptor.open(store.path(of: descriptor.digest), O_RDONLY),
      lseek(file.number, 0, SEEK_END) == off_t(descriptor.size)
    else { return nil }
    self.file = file
  }

  func read(at offset: Int64, count: Int) -> [UInt8]? {
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      filled = file.fill(UnsafeMutableRawBufferPointer(buffer), at: offset) ?? 0
    }
    return bytes.count == count ? bytes : nil
  }

  /// Copies to another file (`FileDescriptor.copy`).
  func copy(at offset: Int64, count: Int, to file: Int32, at target: Int64) -> Bool {
    self.file.copy(at: offset, count: count, to: file, at: target)
  }
}
