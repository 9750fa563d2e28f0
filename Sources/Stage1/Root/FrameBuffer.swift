import Glibc
import StateClient

/// Memory for one frame.
///
/// Its own mapping, so that the memory goes back to the kernel with it: the C library would keep what several threads
/// allocate and free, in pieces that fit nothing.
///
/// @unchecked Sendable: each buffer is held by one thread at a time, handed on under the monitor's lock.
final class FrameBuffer: @unchecked Sendable {
  private let memory: UnsafeMutableRawBufferPointer
  private var count: Int

  var capacity: Int { memory.count }

  /// As many bytes as the frame has.
  var bytes: UnsafeMutableRawBufferPointer { UnsafeMutableRawBufferPointer(rebasing: memory[..<count]) }

  /// Bytes of memory that `count` bytes take: a quarter of a power of two, so that the next frame, a little
  /// longer, still fits, and whole pages.
  static func capacity(for count: Int) -> Int {
    let count = max(count, 1)
    let highest = Int.bitWidth - 1 - count.leadingZeroBitCount
    let unit = max(4096, 1 << max(0, highest - 2))
    return (count + unit - 1) / unit * unit
  }

  init(count: Int) throws(SystemError) {
    let capacity = Self.capacity(for: count)
    guard let memory = mmap(nil, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
      memory != UnsafeMutableRawPointer(bitPattern: -1)
    else { throw SystemError("get \(capacity) bytes of memory for a frame") }
    self.memory = UnsafeMutableRawBufferPointer(start: memory, count: capacity)
    self.count = count
  }

  func resize(to count: Int) {
    precondition(count <= capacity, "a frame of \(count) bytes in a buffer of \(capacity)")
    self.count = count
  }

  deinit {
    munmap(memory.baseAddress, memory.count)
  }
}

/// Buffers that were used before: the kernel has given and cleared their pages already, which for a
/// tree of some hundred megabytes is a good part of all work.
struct SpareBuffers: Sendable {
  /// Bytes kept; of more, those kept longest are freed.
  static let limit = 12 << 20
  private var buffers: [FrameBuffer] = []
  private var held = 0

  /// One of the very capacity that is asked for: so what frames in flight take is what was reckoned for them.
  mutating func take(count: Int) -> FrameBuffer? {
    let capacity = FrameBuffer.capacity(for: count)
    guard let index = buffers.lastIndex(where: { $0.capacity == capacity }) else { return nil }
    let buffer = buffers.remove(at: index)
    held -= capacity
    buffer.resize(to: count)
    return buffer
  }

  mutating func give(_ buffer: FrameBuffer) {
    guard buffer.capacity <= Self.limit else { return }
    buffers.append(buffer)
    held += buffer.capacity
    while held > Self.limit { held -= buffers.removeFirst().capacity }
  }
}
