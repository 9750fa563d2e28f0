import CapsuleFormat
import Synchronization

/// Compressors for any number of tasks; those that are free are kept, since making one takes as long as a tenth of
/// what it compresses.
final class CompressorPool: Sendable {
  private let level: Int
  private let spare = Mutex<[Compressor]>([])

  init(level: Int) {
    self.level = level
  }

  /// Names what the bytes of a frame depend on besides its content.
  var description: String { "libzstd \(ZstdCompressor.libraryVersion), level \(level)" }

  /// One frame.
  func compress(_ bytes: [UInt8]) throws -> [UInt8] {
    let compressor = try spare.withLock { $0.popLast() } ?? Compressor(level: level)
    defer { spare.withLock { $0.append(compressor) } }
    return try compressor.compress(bytes)
  }

  /// @unchecked Sendable: it is in the pool's list, or taken out of it by one task that puts it back.
  private final class Compressor: @unchecked Sendable {
    private let zstd: ZstdCompressor

    init(level: Int) throws {
      zstd = try ZstdCompressor(level: level)
    }

    func compress(_ bytes: [UInt8]) throws -> [UInt8] { try zstd.compress(bytes) }
  }
}
