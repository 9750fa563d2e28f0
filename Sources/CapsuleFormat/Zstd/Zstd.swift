import CZstd

/// What libzstd said.
package enum ZstdError: Error, Hashable, CustomStringConvertible {
  case outOfMemory
  case failed(String)
  /// The frame holds another number of bytes than was promised.
  case wrongLength(expected: Int, found: Int)

  package var description: String {
    switch self {
    case .outOfMemory: "there is no memory for zstd"
    case .failed(let reason): "zstd: \(reason)"
    case .wrongLength(let expected, let found): "a zstd frame holds \(found) bytes instead of \(expected)"
    }
  }

  static func check(_ result: Int) throws(ZstdError) -> Int {
    guard ZSTD_isError(result) == 0 else { throw .failed(String(cString: ZSTD_getErrorName(result))) }
    return result
  }
}

/// Compresses whole buffers, each into one frame that stands alone. One context, used by one task at a time.
package struct ZstdCompressor: ~Copyable {
  private let context: OpaquePointer

  /// - Parameters:
  ///   - level: 1...19.
  ///   - windowLog: The largest window as a power of two; `nil` leaves it to the level.
  ///   - workers: Threads for one frame; the bytes are the same for any number but 0.
  package init(level: Int, windowLog: Int? = nil, workers: Int = 0) throws(ZstdError) {
    guard let context = ZSTD_createCCtx() else { throw .outOfMemory }
    var parameters = [(ZSTD_c_compressionLevel, level), (ZSTD_c_contentSizeFlag, 1)]
    if let windowLog { parameters.append((ZSTD_c_windowLog, windowLog)) }
    if workers > 0 { parameters.append((ZSTD_c_nbWorkers, workers)) }
    var result = 0
    for (parameter, value) in parameters where ZSTD_isError(result) == 0 {
      result = ZSTD_CCtx_setParameter(context, parameter, Int32(clamping: value))
    }
    if ZSTD_isError(result) != 0 { ZSTD_freeCCtx(context) }
    _ = try ZstdError.check(result)
    self.context = context
  }

  deinit {
    ZSTD_freeCCtx(context)
  }

  /// Of the library that runs: others may compress the same content to other bytes.
  package static var libraryVersion: String { String(cString: ZSTD_versionString()) }

  /// One frame with the whole of `bytes`.
  package func compress(_ bytes: UnsafeRawBufferPointer) throws(ZstdError) -> [UInt8] {
    let bound = ZSTD_compressBound(bytes.count)
    var failure: ZstdError?
    let frame = [UInt8](unsafeUninitializedCapacity: bound) { buffer, count in
      do throws(ZstdError) {
        count = try ZstdError.check(
          ZSTD_compress2(context, buffer.baseAddress, bound, bytes.baseAddress, bytes.count))
      } catch {
        count = 0
        failure = error
      }
    }
    if let failure { throw failure }
    return frame
  }

  /// One frame with the whole of `bytes`.
  package func compress(_ bytes: [UInt8]) throws -> [UInt8] {
    try bytes.withUnsafeBytes { try compress($0) }
  }
}

/// Decompresses single frames whose length is known. One context, used by one task at a time.
package struct ZstdDecompressor: ~Copyable {
  private let context: OpaquePointer

  package init() throws(ZstdError) {
    guard let context = ZSTD_createDCtx() else { throw .outOfMemory }
    self.context = context
  }

  deinit {
    ZSTD_freeDCtx(context)
  }

  /// Decompresses one frame, which must fill `output` exactly.
  package func decompress(
    _ frame: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
  ) throws(ZstdError) {
    let written = try ZstdError.check(
      ZSTD_decompressDCtx(context, output.baseAddress, output.count, frame.baseAddress, frame.count))
    guard written == output.count else { throw .wrongLength(expected: output.count, found: written) }
  }

  /// Decompresses one frame of `length` uncompressed bytes.
  package func decompress(_ frame: [UInt8], length: Int) throws -> [UInt8] {
    var output = [UInt8](repeating: 0, count: length)
    try output.withUnsafeMutableBytes { target in try frame.withUnsafeBytes { try decompress($0, into: target) } }
    return output
  }
}

/// Decompresses a stream of frames piece by piece.
package struct ZstdStreamDecompressor: ~Copyable {
  private let context: OpaquePointer
  private let buffer: UnsafeMutableRawBufferPointer
  /// Whether the stream may end here: behind a whole frame.
  package private(set) var isAtFrameEnd = true

  /// - Parameter windowLogLimit: Frames that want a larger window (a power of two) are refused.
  package init(windowLogLimit: Int = 27) throws(ZstdError) {
    guard let context = ZSTD_createDCtx() else { throw .outOfMemory }
    let result = ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, Int32(clamping: windowLogLimit))
    if ZSTD_isError(result) != 0 { ZSTD_freeDCtx(context) }
    _ = try ZstdError.check(result)
    self.context = context
    buffer = .allocate(byteCount: ZSTD_DStreamOutSize(), alignment: 16)
  }

  deinit {
    ZSTD_freeDCtx(context)
    buffer.deallocate()
  }

  /// Hands what `input` decompresses to to `body`, in pieces valid during the call only.
  package mutating func decompress(
    _ input: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) throws -> Void
  ) throws {
    var source = ZSTD_inBuffer(src: input.baseAddress, size: input.count, pos: 0)
    var full = false
    while source.pos < source.size || full {
      var target = ZSTD_outBuffer(dst: buffer.baseAddress, size: buffer.count, pos: 0)
      let before = source.pos
      let hint = try ZstdError.check(ZSTD_decompressStream(context, &target, &source))
      // Asked for more output at the end of a frame, libzstd wants a new header: no progress, and no end lost.
      if source.pos > before || target.pos > 0 { isAtFrameEnd = hint == 0 }
      full = target.pos == target.size && hint != 0
      if target.pos > 0 { try body(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[..<target.pos])) }
    }
  }
}
