import CapsuleFormat
import FoundationEssentials

/// What the last build's erofs image has of the contents of files: copied where they are the same still.
struct KnownErofs: Sendable {
  /// So much of a file is compressed, remembered and copied at once.
  static let pieceBytes: UInt64 = 2 << 20

  struct Piece: Sendable {
    fileprivate var first: UInt32
    var clusters: [UInt8]
    fileprivate var sum: UInt64
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

  /// Its blocks; `nil` where they are not what was written.
  func read(_ piece: Piece) -> [UInt8]? {
    let blocks = piece.clusters.reduce(0) { $0 + Int($1) }
    let bytes = blob?.read(
      at: Int64(piece.first) * Int64(ErofsFormat.blockSize), count: blocks * ErofsFormat.blockSize)
    guard let bytes, Pieces.sum(of: bytes) == piece.sum else { return nil }
    return bytes
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

    /// Against disks that forget, not against people: who can write there can write the record too.
    ///
    /// - Parameter bytes: Whole blocks.
    static func sum(of bytes: [UInt8]) -> UInt64 {
      bytes.withUnsafeBytes { bytes in
        // Four at once, or each would wait for the one before it.
        var lanes = SIMD4<UInt64>(1, 2, 3, 4)
        for offset in stride(from: 0, to: bytes.count, by: 32) {
          lanes ^= bytes.loadUnaligned(fromByteOffset: offset, as: SIMD4<UInt64>.self)
          lanes = lanes &* SIMD4(repeating: 0x9E37_79B9_7F4A_7C15)
          lanes ^= lanes &>> SIMD4(repeating: 29)
        }
        return lanes[0] ^ lanes[1] &* 3 ^ lanes[2] &* 5 ^ lanes[3] &* 7
      }
    }
  }
}
