import CapsuleFormat

/// The blobs of a capsule that is being made: sealed as they come, named all at the end.
struct CapsuleParts {
  private let store: ContentStore
  /// What earlier builds made of the same images.
  private let earlier: [String: Descriptor]
  var writers: [BlobWriter] = []
  /// What was made, or kept, of which images.
  private(set) var images: [String: Descriptor] = [:]

  init(store: ContentStore, earlier: [String: Descriptor]) {
    self.store = store
    self.earlier = earlier
  }

  /// A blob of its own.
  mutating func keep(_ bytes: [UInt8], _ mediaType: String) throws -> Descriptor {
    let writer = try store.writer()
    try writer.write(bytes)
    writers.append(writer)
    return try writer.seal(mediaType: mediaType)
  }

  /// A cpio image in one zstd frame, ready to stand before or behind another; the one that an earlier build made of
  /// the same image, where it is still there.
  ///
  /// The kernel takes windows of up to 8 MiB (lib/decompress_unzstd.c, ZSTD_WINDOWSIZE_MAX).
  /// Level 19 makes it a tenth smaller and takes twenty times as long.
  ///
  /// - Parameter early: Stands before it, not compressed: a multiple of 4 bytes.
  mutating func image(_ image: [UInt8], _ mediaType: String, behind early: [UInt8] = []) throws -> Descriptor {
    let digests = [early, image].map { Digest(of: $0).hexadecimal }.joined(separator: "+")
    let key = "\(mediaType) \(digests) libzstd \(ZstdCompressor.libraryVersion) level 9"
    if let kept = kept(key) { return kept }
    let blob = try keep(
      early + paddedToFour(try ZstdCompressor(level: 9, windowLog: 23).compress(image)), mediaType)
    images[key] = blob
    return blob
  }

  /// The blob that an earlier build made of something.
  private mutating func kept(_ key: String) -> Descriptor? {
    guard let kept = earlier[key], (try? store.size(of: kept.digest)) == kept.size else { return nil }
    images[key] = kept
    return kept
  }

  /// Gives everything its name, in the order in which it came: the manifest last.
  func publish() throws {
    for writer in writers { try writer.publish() }
  }
}
