/// Memory for one frame.
///
/// @unchecked Sendable: each buffer is held by one thread at a time, handed on under the monitor's lock.
final class FrameBuffer: @unchecked Sendable {
  private let memory: UnsafeMutableRawBufferPointer
  private var count: Int

  var capacity: Int { memory.count }

  /// As many bytes as the frame has.
  var bytes: UnsafeMutableRawBufferPointer { UnsafeMutableRawBufferPointer(rebasing: memory[..<count]) }

  init(count: Int) {
    // Whole mebibytes, so that the next frame, a little longer, still fits.
    memory = .allocate(byteCount: (count / SpareBuffers.unit + 1) * SpareBuffers.unit, alignment: 4096)
    self.count = count
  }

  func resize(to count: Int) {
    precondition(count <= capacity, "a frame of \(count) bytes in a buffer of \(capacity)")
    self.count = count
  }

  deinit {
    memory.deallocate()
  }
}

/// Buffers that were used before: the kernel has given and cleared their pages already, which for a
/// tree of some hundred megabytes is a good part of all work.
struct SpareBuffers: Sendable {
  static let unit = 1 << 20
  /// Bytes kept; other buffers are freed.
  private static let limit = 12 << 20
  private var buffers: [FrameBuffer] = []

  mutating func take(count: Int) -> FrameBuffer? {
    // The smallest that fits: compressed frames leave the large ones to decompressed ones.
    let fitting = buffers.indices.filter { buffers[$0].capacity >= count }
    guard let index = fitting.min(by: { buffers[$0].capacity < buffers[$1].capacity }),
      buffers[index].capacity <= 4 * (count + Self.unit)
    else { return nil }
    let buffer = buffers.remove(at: index)
    buffer.resize(to: count)
    return buffer
  }

  mutating func give(_ buffer: FrameBuffer) {
    if buffers.reduce(buffer.capacity, { $0 + $1.capacity }) <= Self.limit { buffers.append(buffer) }
  }
}
