import CapsuleFormat

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

extension ErofsImage {
  /// The image's file, written from its beginning.
  struct Output {
    let file: Int32
    let path: String
    private(set) var length: UInt64 = 0
    private var early = EarlyWriting()

    init(file: Int32, path: String) {
      self.file = file
      self.path = path
    }

    /// The block that comes next.
    var block: UInt32 {
      get throws(CapsuleError) {
        guard let block = UInt32(exactly: length / UInt64(ErofsFormat.blockSize)) else {
          throw CapsuleError(
            .badSource, "The tree is too large for an erofs image",
            remedy: "Leave overlay out of the root modes in the tree's /etc/perseid/capsule.yaml")
        }
        return block
      }
    }

    mutating func append(_ bytes: [UInt8]) throws(CapsuleError) {
      let isWritten = bytes.withUnsafeBytes { buffer in
        var written = 0
        while written < buffer.count {
          let count = pwrite(
            file, buffer.baseAddress.map { $0 + written }, buffer.count - written, off_t(length) + off_t(written))
          if count < 0 && errno != EINTR { return false }
          written += max(0, count)
        }
        return true
      }
      guard isWritten else { throw .writing(path, errno: errno) }
      advance(by: bytes.count)
    }

    /// Copies pieces that stand one behind the other in an earlier image.
    mutating func copy(from known: KnownErofs, _ first: KnownErofs.Piece, blocks: Int) throws {
      guard known.copy(from: first, blocks: blocks, to: file, at: Int64(length)) else {
        // What cannot be read is as good as damaged; a full disk is not.
        if errno == 0 || errno == EIO { throw ErofsImage.Damaged() }
        throw CapsuleError.writing(path, errno: errno)
      }
      advance(by: blocks * ErofsFormat.blockSize)
    }

    private mutating func advance(by count: Int) {
      length += UInt64(count)
      early.advance(to: Int64(length), of: file)
    }

    mutating func padToBlock() throws(CapsuleError) {
      let rest = Int(length % UInt64(ErofsFormat.blockSize))
      if rest > 0 { try append([UInt8](repeating: 0, count: ErofsFormat.blockSize - rest)) }
    }
  }

  /// Checks what was copied, while the whole image is read for its digest.
  struct CopyCheck {
    /// A piece as it stands in the new image.
    struct Copy {
      var block: UInt32
      var blocks: Int
      var sum: UInt64
    }

    private let copies: [Copy]
    /// Of `copies`.
    private var next = 0
    private var sum = BlockSum()
    /// Bytes of the image that have been consumed.
    private var position = 0

    /// - Parameter copies: In the order of the image.
    init(_ copies: [Copy]) {
      self.copies = copies
    }

    /// - Parameter bytes: Whole blocks.
    /// - Throws: `ErofsImage.Damaged`.
    mutating func consume(_ bytes: UnsafeRawBufferPointer) throws {
      let end = position + bytes.count
      while next < copies.count {
        let copy = copies[next]
        let start = Int(copy.block) * ErofsFormat.blockSize
        let stop = start + copy.blocks * ErofsFormat.blockSize
        guard start < end else { break }
        let part = max(0, start - position)..<min(bytes.count, stop - position)
        sum.update(UnsafeRawBufferPointer(rebasing: bytes[part]))
        guard stop <= end else { break }
        guard sum.value == copy.sum else { throw ErofsImage.Damaged() }
        sum = BlockSum()
        next += 1
      }
      position = end
    }
  }
}
