/// One independent zstd frame of the root file system blob.
package struct Frame: Hashable, Sendable {
  /// Bytes from the beginning of the blob.
  package var offset: UInt64
  /// Bytes of the frame as stored.
  package var compressedLength: UInt32
  /// Bytes of tar stream in it.
  package var uncompressedLength: UInt32
  /// Of the bytes as stored: checked before they are decompressed.
  package var compressedDigest: Digest
  /// Of the tar stream's bytes: the frame's identity, the same with every compressor.
  package var uncompressedDigest: Digest

  package init(
    offset: UInt64, compressedLength: UInt32, uncompressedLength: UInt32, compressedDigest: Digest,
    uncompressedDigest: Digest
  ) {
    self.offset = offset
    self.compressedLength = compressedLength
    self.uncompressedLength = uncompressedLength
    self.compressedDigest = compressedDigest
    self.uncompressedDigest = uncompressedDigest
  }
}

/// The frames of a root file system blob, in order and without gaps: a blob of its own.
package struct FrameIndex: Hashable, Sendable {
  package var frames: [Frame]

  package init(frames: [Frame]) {
    self.frames = frames
  }

  /// No frame holds more of the tar stream than this, in bytes: it bounds a node's memory.
  package static let frameLimit = 16 << 20
}
