package import CapsuleFormat
import Glibc
package import StateClient

/// Takes the tar stream, in order.
package protocol FrameConsumer: SendableMetatype {
  mutating func consume(_ bytes: UnsafeRawBufferPointer) throws
  /// Called once behind the last byte.
  mutating func finish() throws
}

/// Fetches, verifies, decompresses and consumes a root file system blob, all at once.
///
/// Several connections fetch frames; one thread per processor verifies and decompresses whole frames; one consumes
/// them in order. Frames in flight are bounded in bytes. What a broken connection did not bring is asked for again
/// from the frame reached, of the appliance that does best; a frame that is not what the index says is never
/// decompressed: it is fetched again.
package struct FramePipeline: Sendable {
  /// Who has the blob: the first is asked first, the others where it fails.
  package let servers: [Endpoint]
  package let blob: Descriptor
  package let index: FrameIndex
  /// Whether the blob is handed on as it comes: its pieces have no digests, and who consumes it verifies the whole.
  package let isPlain: Bool
  package var workers: Int
  /// At most so many; a small blob comes over fewer.
  package var connectionLimit = 4
  /// Bytes of memory for frames in flight, compressed and decompressed together. A frame larger than that travels alone.
  package var memoryLimit = 32 << 20
  /// Seconds without a single frame until it gives up.
  package var patience = 120.0
  /// How often one corrupted frame is fetched.
  package var corruptionLimit = 5
  package var timeouts = HTTPTimeouts()
  package var retrySeconds = 1.0

  /// Bytes that are worth a connection.
  package var bytesPerConnection: UInt64 = 8 << 20

  package var connections: Int {
    max(1, min(connectionLimit, Int(clamping: index.compressedLength / max(1, bytesPerConnection))))
  }

  /// What a watcher sees.
  package struct Progress: Sendable {
    /// Bytes of the tar stream consumed, and in all.
    package var done: Int64
    package var total: Int64
    package var seconds: Double
    /// What happened since the last time: broken connections, corrupted frames.
    package var notes: [String]
    /// Where the processors' time went so far.
    package var work: Work
  }

  /// Seconds of processor time for each kind of work, all threads together.
  package struct Work: Hashable, Sendable, CustomStringConvertible {
    package var fetching = 0.0
    package var verifying = 0.0
    package var decompressing = 0.0
    package var unpacking = 0.0

    package init() {}

    package var description: String {
      [("fetching", fetching), ("verifying", verifying), ("decompressing", decompressing), ("unpacking", unpacking)]
        .map { "\($0.0) \(Self.tenths($0.1)) s" }.joined(separator: ", ") + " of processor time"
    }

    private static func tenths(_ seconds: Double) -> String {
      let tenths = Int((seconds * 10).rounded())
      return "\(tenths / 10).\(tenths % 10)"
    }
  }

  package init(
    servers: [Endpoint], blob: Descriptor, index: FrameIndex,
    workers: Int = max(1, sysconf(CInt(_SC_NPROCESSORS_ONLN)))
  ) {
    self.servers = servers
    self.blob = blob
    self.index = index
    self.workers = workers
    isPlain = false
  }

  /// A blob without frames, fetched in pieces.
  package init(servers: [Endpoint], plain blob: Descriptor) {
    self.servers = servers
    self.blob = blob
    let size = UInt64(max(0, blob.size))
    index = FrameIndex(
      frames: stride(from: 0, to: size, by: Int(Self.pieceLength)).map { offset in
        let length = UInt32(min(UInt64(Self.pieceLength), size - offset))
        return Frame(
          offset: offset, compressedLength: length, uncompressedLength: length, compressedDigest: blob.digest,
          uncompressedDigest: blob.digest)
      })
    workers = 0
    isPlain = true
  }

  private static let pieceLength: UInt32 = 1 << 20

  /// - Parameters:
  ///   - makeConsumer: Called on the consuming thread.
  ///   - watch: Called on this thread about once a second, and at the end.
  /// - Throws: What stopped it; the consumer is then left as it is.
  package func run<Consumer: FrameConsumer>(
    makeConsumer: @escaping @Sendable () throws -> Consumer, watch: (Progress) -> Void
  ) throws {
    let shared = Monitor(Shared(fetch: FetchState(servers: servers)))
    let started = Clock.now
    let total = Int64(clamping: index.uncompressedLength)
    func progress(_ state: inout Shared) -> Progress {
      defer { state.notes = [] }
      return Progress(
        done: state.done, total: total, seconds: Clock.now - started, notes: state.notes, work: state.work)
    }
    try ThreadScope.run { scope in
      do {
        let threads = FrameThreads(plan: self, shared: shared)
        for number in 0..<connections {
          let connection = FetchThread(plan: self, shared: shared, number: number)
          try scope.start("fetch") { connection.run() }
        }
        for _ in 0..<workers { try scope.start("decompress") { threads.decompress() } }
        try scope.start("unpack") { threads.consume(makeConsumer) }
      } catch {
        shared.update { $0.fail(error) }
        throw error
      }
      while shared.wait(seconds: 1, for: { $0.isOver ? true : nil }) == nil {
        watch(shared.update { progress(&$0) })
      }
    }
    watch(shared.update { progress(&$0) })
    if let failure = shared.update({ $0.failure }) { throw failure }
  }

  /// What the threads share.
  struct Shared: Sendable {
    var fetch: FetchState
    var fetched: [Fetched] = []
    var ready: [Int: FrameBuffer] = [:]
    var spare = SpareBuffers()
    var bytesInFlight = 0
    var done: Int64 = 0
    var notes: [String] = []
    var work = Work()
    var failure: (any Error)?
    var isConsumed = false

    init(fetch: FetchState) { self.fetch = fetch }

    var isOver: Bool { isConsumed || failure != nil }

    mutating func fail(_ error: any Error) {
      if failure == nil { failure = error }
    }
  }

  /// A frame as it came, not yet verified.
  struct Fetched: Sendable {
    var number: Int
    var bytes: FrameBuffer
    /// Which of the servers it came from.
    var source: Int
  }

  /// Bytes of memory that a frame takes on its way.
  func cost(_ frame: Frame) -> Int {
    let fetched = FrameBuffer.capacity(for: Int(frame.compressedLength))
    return isPlain ? fetched : fetched + FrameBuffer.capacity(for: Int(frame.uncompressedLength))
  }
}

/// A frame that did not come as the index says, however often it was fetched.
package struct FrameCorrupted: Error, Hashable, Sendable, CustomStringConvertible {
  package var description: String
}
