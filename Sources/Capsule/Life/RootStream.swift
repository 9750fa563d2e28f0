import CapsuleFormat

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The root file system of a stored capsule as its tar stream, read frame by frame.
struct RootStream {
  let capsule: StoredCapsule
  let store: ContentStore

  /// A frame that is not what the index says.
  struct BadFrame: Hashable {
    var number: Int
    var reason: String
  }

  /// Hands over the stream in order, in pieces that are valid during the call only, as long as every frame is
  /// what it should be; the frames behind a bad one are only checked.
  ///
  /// - Returns: The bad frames.
  /// - Throws: `CapsuleError` where the index or the blob cannot be read, and what `body` throws.
  func read(
    progress: (_ bytes: Int64) -> Void = { _ in }, _ body: (UnsafeRawBufferPointer) throws -> Void
  ) throws -> [BadFrame] {
    let index = try capsule.frames(from: store)
    let path = store.path(of: capsule.rootFileSystem.digest)
    guard index.compressedLength == UInt64(capsule.rootFileSystem.size) else {
      throw CapsuleError(
        .damagedBlob,
        "The frame index \(capsule.frameIndex.digest) describes \(index.compressedLength) bytes, and the root file "
          + "system has \(capsule.rootFileSystem.size)", remedy: "Import the capsule again")
    }
    guard let file = FileDescriptor.open(path, O_RDONLY) else { throw CapsuleError.reading(path, errno: errno) }
    let decompressor = try ZstdDecompressor()
    var bad: [BadFrame] = []
    var done: Int64 = 0
    for (number, frame) in index.frames.enumerated() {
      try Task.checkCancellation()
      var compressed = [UInt8](repeating: 0, count: Int(frame.compressedLength))
      let count = compressed.withUnsafeMutableBytes { file.fill($0, at: Int64(frame.offset)) }
      guard let count else { throw CapsuleError.reading(path, errno: errno) }
      done += Int64(frame.uncompressedLength)
      if count < compressed.count {
        bad.append(BadFrame(number: number, reason: "the blob ends within it"))
      } else if Digest(of: compressed) != frame.compressedDigest {
        bad.append(BadFrame(number: number, reason: "its compressed bytes are not those of its digest"))
      } else if let stream = try? decompressor.decompress(compressed, length: Int(frame.uncompressedLength)) {
        if Digest(of: stream) != frame.uncompressedDigest {
          bad.append(BadFrame(number: number, reason: "its uncompressed bytes are not those of its digest"))
        } else if bad.isEmpty {
          try stream.withUnsafeBytes(body)
        }
      } else {
        bad.append(BadFrame(number: number, reason: "it cannot be decompressed"))
      }
      progress(done)
    }
    return bad
  }
}

/// Gathers the entries of a tar stream; of the content of files, what `observe` wants.
struct EntryGatherer<Observer: ContentObserver>: TarSink {
  private(set) var entries: [TarEntry] = []
  var observer: Observer

  init(_ observer: Observer) {
    self.observer = observer
  }

  mutating func entry(_ entry: TarEntry) throws {
    entries.append(entry)
    observer.began(entry)
  }

  mutating func content(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws {
    observer.read(bytes, at: offset)
  }

  mutating func endEntry() throws {
    observer.ended()
  }
}

/// What looks at the contents of a tar stream's files.
protocol ContentObserver {
  mutating func began(_ entry: TarEntry)
  mutating func read(_ bytes: UnsafeRawBufferPointer, at offset: UInt64)
  mutating func ended()
}

/// One that does not.
struct NoObserver: ContentObserver {
  func began(_ entry: TarEntry) {}
  func read(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) {}
  func ended() {}
}
