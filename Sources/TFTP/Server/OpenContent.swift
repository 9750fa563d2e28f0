import CLinux
import Glibc

/// Content in memory, as pieces at fixed addresses: files are mapped, once for all transfers that read them.
/// Or else a file that may change, which is read as it is sent.
final class OpenContent {
  struct Piece {
    let start: UnsafeRawPointer
    let count: Int
  }

  let pieces: [Piece]
  /// Where it is a file that may change; there are no pieces then.
  let file: OpenFile?
  /// Bytes of all of it.
  let size: Int
  /// Keep the pieces alive.
  private let owners: [AnyObject]

  init(pieces: [Piece], owners: [AnyObject]) {
    self.pieces = pieces
    self.owners = owners
    file = nil
    size = pieces.reduce(0) { $0 + $1.count }
  }

  init(file: OpenFile) {
    pieces = []
    owners = []
    self.file = file
    size = file.size
  }

  /// The content as netascii: another size, so it is made as a whole.
  func netascii() throws(ContentOpener.Failure) -> OpenContent {
    var text: [UInt8] = []
    text.reserveCapacity(size)
    if let file {
      text = [UInt8](repeating: 0, count: size)
      let isWhole = text.withUnsafeMutableBytes { bytes in
        bytes.baseAddress.map { file.read(bytes.count, at: 0, into: $0) } ?? true
      }
      guard isWhole else { throw ContentOpener.Failure(description: "cannot read it: it was changed meanwhile") }
    }
    for piece in pieces { text += UnsafeRawBufferPointer(start: piece.start, count: piece.count) }
    let copy = HeapBytes(Netascii.encode(text))
    return OpenContent(pieces: copy.piece.map { [$0] } ?? [], owners: [copy])
  }
}

/// Opens content, and shares the mapping of a file among those who have it open.
struct ContentOpener {
  /// Why content cannot be sent, for a person.
  struct Failure: Error, CustomStringConvertible {
    let description: String
  }

  /// More parts than this do not fit into one system call's list.
  static let maximumParts = 256

  private var mappings: [String: WeakMapping] = [:]

  mutating func open(_ content: Content) throws(Failure) -> OpenContent {
    guard content.parts.count <= Self.maximumParts else {
      throw Failure(description: "content of \(content.parts.count) parts; at most \(Self.maximumParts) can be sent")
    }
    var pieces: [OpenContent.Piece] = []
    var owners: [AnyObject] = []
    for part in content.parts {
      switch part {
      case .bytes(let bytes):
        let copy = HeapBytes(bytes)
        guard let piece = copy.piece else { continue }
        pieces.append(piece)
        owners.append(copy)
      case .file(let path, let size):
        guard size != 0 else { continue }
        let mapping = try mapping(path: path, size: size)
        pieces.append(mapping.piece)
        owners.append(mapping)
      }
    }
    return OpenContent(pieces: pieces, owners: owners)
  }

  private mutating func mapping(path: String, size: Int) throws(Failure) -> FileMapping {
    if let mapping = mappings[path]?.mapping, mapping.piece.count == size { return mapping }
    // Entries of files that nobody reads any more.
    if mappings.count >= 64 { mappings = mappings.filter { $0.value.mapping != nil } }
    let mapping = try FileMapping(path: path, size: size)
    mappings[path] = WeakMapping(mapping: mapping)
    return mapping
  }
}

private struct WeakMapping {
  weak var mapping: FileMapping?
}

/// A file in memory, read-only. Its bytes are only ever read by the kernel while sending (netascii aside): where the
/// file is cut short meanwhile, against the rule, sending fails and the process lives on.
private final class FileMapping {
  let piece: OpenContent.Piece

  init(path: String, size: Int) throws(ContentOpener.Failure) {
    var error: Int32 = 0
    guard size > 0, let start = clinux_tftp_map(path, size, &error) else {
      let reason = error == 0 ? "it is not a file of \(size) bytes any more" : SystemError(number: error).description
      throw ContentOpener.Failure(description: "cannot read \(path): \(reason)")
    }
    piece = OpenContent.Piece(start: start, count: size)
  }

  deinit {
    munmap(UnsafeMutableRawPointer(mutating: piece.start), piece.count)
  }
}

/// Bytes at an address that stays: an array's own may move.
private final class HeapBytes {
  /// `nil` where there are no bytes.
  let piece: OpenContent.Piece?

  init(_ bytes: [UInt8]) {
    guard !bytes.isEmpty else {
      piece = nil
      return
    }
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
    memory.copyBytes(from: bytes)
    piece = memory.baseAddress.map { OpenContent.Piece(start: UnsafeRawPointer($0), count: bytes.count) }
  }

  deinit {
    piece?.start.deallocate()
  }
}
