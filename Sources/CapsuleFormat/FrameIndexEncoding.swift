/// What is wrong with the bytes of a frame index.
package enum FrameIndexError: Error, Hashable, CustomStringConvertible {
  /// Fewer or more bytes than the header announces.
  case wrongLength(expected: Int, found: Int)
  case notAnIndex
  case unknownVersion(UInt32)
  case tooManyFrames(UInt32)
  /// A frame without content, larger than `FrameIndex.frameLimit`, or not beginning where the last one ended.
  case badFrame(Int)
  /// The totals of the header are not those of the frames.
  case wrongTotals

  package var description: String {
    switch self {
    case .wrongLength(let expected, let found):
      "the frame index has \(found) bytes where \(expected) were expected"
    case .notAnIndex: "this is not a frame index: it does not begin with PSDFRIDX"
    case .unknownVersion(let version): "the frame index has version \(version); version 1 is understood"
    case .tooManyFrames(let count): "the frame index has \(count) frames; \(FrameIndex.countLimit) are allowed"
    case .badFrame(let number): "frame \(number) of the frame index is empty, too large or out of place"
    case .wrongTotals: "the totals of the frame index are not the sums of its frames"
    }
  }
}

// The bytes, all numbers little-endian:
//   0  8  "PSDFRIDX"
//   8  4  version, 1
//  12  4  number of frames
//  16  8  bytes of the blob (the sum of the compressed lengths)
//  24  8  bytes of the tar stream (the sum of the uncompressed lengths)
//  32     for each frame 80 bytes: offset 8, compressed length 4, uncompressed length 4,
//         SHA-256 of the compressed bytes 32, SHA-256 of the uncompressed bytes 32
extension FrameIndex {
  /// The most frames an index may have.
  package static let countLimit = 1 << 20
  /// The largest index in bytes: to be checked before one is fetched or read.
  package static let sizeLimit = headerLength + countLimit * recordLength

  private static let magic = Array("PSDFRIDX".utf8)
  private static let version: UInt32 = 1
  private static let headerLength = 32
  private static let recordLength = 80
  /// zstd makes incompressible content larger by less than this.
  private static let compressedLimit = frameLimit + frameLimit / 128 + 1024

  /// Bytes of the blob.
  package var compressedLength: UInt64 { frames.reduce(0) { $0 &+ UInt64($1.compressedLength) } }
  /// Bytes of the tar stream.
  package var uncompressedLength: UInt64 { frames.reduce(0) { $0 &+ UInt64($1.uncompressedLength) } }

  /// Reads an index from the whole of its bytes.
  package init(decoding bytes: [UInt8]) throws(FrameIndexError) {
    guard bytes.count >= Self.headerLength else {
      throw .wrongLength(expected: Self.headerLength, found: bytes.count)
    }
    guard bytes.starts(with: Self.magic) else { throw .notAnIndex }
    let version = UInt32(truncatingIfNeeded: Self.number(bytes, at: 8, length: 4))
    guard version == Self.version else { throw .unknownVersion(version) }
    let count = UInt32(truncatingIfNeeded: Self.number(bytes, at: 12, length: 4))
    guard count <= Self.countLimit else { throw .tooManyFrames(count) }
    let expected = Self.headerLength + Int(count) * Self.recordLength
    guard bytes.count == expected else { throw .wrongLength(expected: expected, found: bytes.count) }

    var frames: [Frame] = []
    frames.reserveCapacity(Int(count))
    // Neither sum can overflow: at most 2^20 frames of less than 2^25 bytes.
    var offset: UInt64 = 0
    var uncompressed: UInt64 = 0
    for index in 0..<Int(count) {
      let start = Self.headerLength + index * Self.recordLength
      let frame = Frame(
        offset: Self.number(bytes, at: start, length: 8),
        compressedLength: UInt32(truncatingIfNeeded: Self.number(bytes, at: start + 8, length: 4)),
        uncompressedLength: UInt32(truncatingIfNeeded: Self.number(bytes, at: start + 12, length: 4)),
        compressedDigest: Digest(fixed: bytes, at: start + 16),
        uncompressedDigest: Digest(fixed: bytes, at: start + 48))
      guard frame.offset == offset,
        frame.compressedLength > 0, frame.compressedLength <= Self.compressedLimit,
        frame.uncompressedLength > 0, frame.uncompressedLength <= Self.frameLimit
      else { throw .badFrame(index) }
      offset += UInt64(frame.compressedLength)
      uncompressed += UInt64(frame.uncompressedLength)
      frames.append(frame)
    }
    guard Self.number(bytes, at: 16, length: 8) == offset, Self.number(bytes, at: 24, length: 8) == uncompressed
    else { throw .wrongTotals }
    self.init(frames: frames)
  }

  /// The index as it is stored.
  package func encoded() -> [UInt8] {
    var bytes = Self.magic
    bytes.reserveCapacity(Self.headerLength + frames.count * Self.recordLength)
    Self.append(UInt64(Self.version), length: 4, to: &bytes)
    Self.append(UInt64(frames.count), length: 4, to: &bytes)
    Self.append(compressedLength, length: 8, to: &bytes)
    Self.append(uncompressedLength, length: 8, to: &bytes)
    for frame in frames {
      Self.append(frame.offset, length: 8, to: &bytes)
      Self.append(UInt64(frame.compressedLength), length: 4, to: &bytes)
      Self.append(UInt64(frame.uncompressedLength), length: 4, to: &bytes)
      bytes += frame.compressedDigest.bytes
      bytes += frame.uncompressedDigest.bytes
    }
    return bytes
  }

  private static func number(_ bytes: [UInt8], at offset: Int, length: Int) -> UInt64 {
    var value: UInt64 = 0
    for index in (0..<length).reversed() { value = value << 8 | UInt64(bytes[offset + index]) }
    return value
  }

  private static func append(_ value: UInt64, length: Int, to bytes: inout [UInt8]) {
    for index in 0..<UInt64(length) { bytes.append(UInt8(truncatingIfNeeded: value >> (8 * index))) }
  }
}

extension Digest {
  /// The 32 bytes that begin at `offset`, which the caller knows to be there.
  fileprivate init(fixed bytes: [UInt8], at offset: Int) {
    guard let digest = Digest(bytes: bytes[offset..<offset + 32]) else {
      preconditionFailure("a slice of 32 bytes is a digest")
    }
    self = digest
  }
}
