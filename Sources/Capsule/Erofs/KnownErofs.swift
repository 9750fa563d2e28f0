import CapsuleFormat
import FoundationEssentials

/// What the last build's erofs image has of the contents of files: copied where they are the same still.
struct KnownErofs: Sendable {
  /// So much of a file is compressed, remembered and copied at once.
  static let pieceBytes: UInt64 = 2 << 20

  struct Piece: Sendable {
    fileprivate var first: UInt32
    var clusters: [UInt8]
    /// Of its blocks (`BlockSum`).
    var sum: UInt64

    /// How many it has.
    var blocks: Int { clusters.reduce(0) { $0 + Int($1) } }

    func stands(behind other: Piece) -> Bool { Int(first) == Int(other.first) + other.blocks }
  }

  /// What a build leaves of its image for the next one.
  struct Record: Codable, Sendable {
    var image: Descriptor
    /// Each piece as `Pieces.add` writes it.
    var pieces: Data
  }

  private struct Key: Hashable {
    var stamp: Digest
    var number: UInt32
  }

  private var pieces: [Key: Piece] = [:]
  private var blob: OpenBlob?

  static let none = KnownErofs()

  private init() {}

  init(_ record: Record?, store: ContentStore) {
    guard let record, let blob = OpenBlob(record.image, store: store) else { return }
    self.blob = blob
    record.pieces.withUnsafeBytes { bytes in
      var offset = 0
      while offset + 49 <= bytes.count {
        let count = Int(bytes[offset + 48])
        guard offset + 49 + count <= bytes.count,
          let stamp = Digest(bytes: UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + 32]))
        else { return }
        func number<Number: FixedWidthInteger>(_ place: Int, _: Number.Type) -> Number {
          Number(littleEndian: bytes.loadUnaligned(fromByteOffset: offset + place, as: Number.self))
        }
        pieces[Key(stamp: stamp, number: number(32, UInt32.self))] = Piece(
          first: number(36, UInt32.self), clusters: Array(bytes[(offset + 49)..<(offset + 49 + count)]),
          sum: number(40, UInt64.self))
        offset += 49 + count
      }
    }
  }

  /// What the image has of a file, from its `number`th piece.
  ///
  /// - Parameters:
  ///   - stamp: As `StreamPlan` gives it.
  ///   - bytes: Of the file's content.
  func piece(_ number: UInt64, of stamp: Digest, bytes: UInt64) -> Piece? {
    guard let number = UInt32(exactly: number), let piece = pieces[Key(stamp: stamp, number: number)],
      (bytes + UInt64(ErofsFormat.clusterBytes) - 1) / UInt64(ErofsFormat.clusterBytes) == UInt64(piece.clusters.count)
    else { return nil }
    return piece
  }

  /// Copies pieces that stand one behind the other.
  ///
  /// - Parameters:
  ///   - first: The first of them.
  ///   - blocks: Of all of them.
  /// - Returns: Whether that succeeded; `errno` is set where not, to 0 where the image is too short.
  func copy(from first: Piece, blocks: Int, to file: Int32, at offset: Int64) -> Bool {
    guard let blob else { return false }
    let size = Int64(ErofsFormat.blockSize)
    return blob.copy(at: Int64(first.first) * size, count: blocks * Int(size), to: file, at: offset)
  }

  /// Gathers a record.
  struct Pieces: Sendable {
    private(set) var bytes = Data()

    mutating func add(_ number: UInt64, of stamp: Digest, at block: UInt32, _ clusters: [UInt8], sum: UInt64) {
      var piece = stamp.bytes
      piece.append(little: UInt32(clamping: number))
      piece.append(little: block)
      piece.append(little: sum)
      piece.append(UInt8(clusters.count))
      bytes.append(contentsOf: piece + clusters)
    }
  }
}
