import CapsuleFormat
import TestSupport
import Testing

@Suite struct ZstdTests {
  let text = Array(String(repeating: "Every frame stands alone. ", count: 4000).utf8)

  @Test func `a frame decompresses to what it was made of, and only to that length`() throws {
    let frame = try ZstdCompressor(level: 3).compress(text)
    #expect(frame.count < text.count / 10)
    let decompressor = try ZstdDecompressor()
    #expect(try decompressor.decompress(frame, length: text.count) == text)
    #expect(throws: ZstdError.wrongLength(expected: text.count + 1, found: text.count)) {
      try ZstdDecompressor().decompress(frame, length: text.count + 1)
    }
    #expect(throws: ZstdError.self) { try ZstdDecompressor().decompress(frame, length: text.count - 1) }
  }

  @Test func `a damaged or truncated frame is an error`() throws {
    var frame = try ZstdCompressor(level: 3).compress(text)
    #expect(throws: ZstdError.self) { try ZstdDecompressor().decompress(Array(frame.dropLast()), length: text.count) }
    frame[0] ^= 1
    #expect(throws: ZstdError.self) { try ZstdDecompressor().decompress(frame, length: text.count) }
  }

  @Test func `the bytes do not depend on the number of workers`() throws {
    var generator = SplitMix(state: 1)
    let bytes = (0..<3_000_000).map { _ in UInt8.random(in: 0...15, using: &generator) }
    let one = try ZstdCompressor(level: 5, windowLog: 20, workers: 1).compress(bytes)
    #expect(try ZstdCompressor(level: 5, windowLog: 20, workers: 4).compress(bytes) == one)
  }

  @Test func `frames one behind the other are one stream, in pieces of any size`() throws {
    let compressor = try ZstdCompressor(level: 1)
    let stream = try compressor.compress(text) + compressor.compress([1, 2, 3]) + compressor.compress([])
    for pieces in [1, 5, stream.count] {
      var decompressor = try ZstdStreamDecompressor()
      var output: [UInt8] = []
      for start in stride(from: 0, to: stream.count, by: pieces) {
        let piece = Array(stream[start..<min(start + pieces, stream.count)])
        try piece.withUnsafeBytes { try decompressor.decompress($0) { output += $0 } }
      }
      #expect(output == text + [1, 2, 3])
      let isAtEnd = decompressor.isAtFrameEnd
      #expect(isAtEnd)
    }
    var decompressor = try ZstdStreamDecompressor()
    try stream[..<20].withUnsafeBytes { try decompressor.decompress($0) { _ in } }
    let isAtEnd = decompressor.isAtFrameEnd
    #expect(!isAtEnd)
  }

  @Test(.enabled(if: isInstalled("zstd"))) func `the zstd program reads our frames`() throws {
    let directory = try TemporaryDirectory()
    let compressor = try ZstdCompressor(level: 3)
    try directory.write(try compressor.compress(text) + compressor.compress(text), to: "two.zst")
    try directory.run("zstd -q -d two.zst")
    #expect(try directory.read("two") == text + text)
  }
}
