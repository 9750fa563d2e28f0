import CLinux
import Glibc

/// Sends blocks straight from the content's own memory: the kernel gathers headers and payloads, and cuts
/// a run of equal blocks into packets by itself (UDP segmentation offload), so a window is one or two system calls.
final class BlockSender {
  /// The kernel takes up to 64 segments at once (UDP_MAX_SEGMENTS), and one IP packet's worth of bytes.
  private static let maximumSegments = 64
  private static let maximumBytes = 65507
  /// The most entries of a list that one system call takes (IOV_MAX).
  private static let maximumEntries = 1024

  private let headers = UnsafeMutablePointer<UInt8>.allocate(capacity: maximumSegments * Packet.headerSize)
  private let entries = UnsafeMutablePointer<clinux_tftp_part>.allocate(capacity: maximumEntries)
  /// What was read of a file, for one system call.
  private let page = UnsafeMutableRawPointer.allocate(byteCount: maximumBytes, alignment: 64)

  deinit {
    headers.deallocate()
    entries.deallocate()
    page.deallocate()
  }

  /// How a socket takes packets; the kernel's answer to the first attempt decides.
  struct Route {
    var descriptor: Int32
    var addresses: clinux_tftp_addresses
    /// Whether the kernel may be asked to cut packets: a network card without checksum offload cannot.
    var canSegment = true
  }

  /// Sends these blocks, each once. What the kernel does not take counts as lost on the way: it will be asked for again.
  /// - Parameter blocks: From 1 on, the last at most the content's last.
  /// - Throws: Where the content is a file that is not what it was any more; nothing of what is new was sent.
  func send(
    _ blocks: Range<Int64>, of content: OpenContent, blockSize: Int, numbering: BlockNumbering, over route: inout Route
  ) throws(FileChanged) {
    if let file = content.file {
      // A run at a time is read, and sent from where it was read to.
      let run = max(1, min(Self.maximumSegments, Self.maximumBytes / (blockSize + Packet.headerSize)))
      for first in stride(from: blocks.lowerBound, to: blocks.upperBound, by: run) {
        let end = min(first + Int64(run), blocks.upperBound)
        let offset = (Int(first) - 1) * blockSize
        let count = max(0, min(Int(end - first) * blockSize, file.size - offset))
        guard file.read(count, at: offset, into: page) else { throw FileChanged() }
        let piece = OpenContent(pieces: [.init(start: UnsafeRawPointer(page), count: count)], owners: [])
        send(first..<end, of: piece, from: offset, blockSize: blockSize, numbering: numbering, over: &route)
      }
    } else {
      send(blocks, of: content, from: 0, blockSize: blockSize, numbering: numbering, over: &route)
    }
  }

  /// - Parameter origin: Where in the whole the content that is at hand begins.
  private func send(
    _ blocks: Range<Int64>, of content: OpenContent, from origin: Int, blockSize: Int, numbering: BlockNumbering,
    over route: inout Route
  ) {
    var cursor = Cursor(content: content, offset: (Int(blocks.lowerBound) - 1) * blockSize - origin)
    let packetSize = blockSize + Packet.headerSize
    let segments = route.canSegment ? max(1, min(Self.maximumSegments, Self.maximumBytes / packetSize)) : 1
    var next = blocks.lowerBound
    while next < blocks.upperBound {
      let first = next
      let start = cursor
      var count = 0
      while next < blocks.upperBound, Int(next - first) < segments,
        count + content.pieces.count + 1 <= Self.maximumEntries
      {
        let header = headers + Int(next - first) * Packet.headerSize
        let number = numbering.wire(next)
        header[0] = 0
        header[1] = Packet.dataOpcode
        header[2] = UInt8(number >> 8)
        header[3] = UInt8(truncatingIfNeeded: number)
        entries[count] = clinux_tftp_part(start: header, count: Packet.headerSize)
        count += 1
        count += cursor.take(blockSize, into: entries + count)
        next += 1
      }
      let isRun = next - first > 1
      let result = clinux_tftp_send(
        route.descriptor, entries, count, isRun ? UInt16(packetSize) : 0, &route.addresses)
      if result < 0, isRun, Self.refusesSegments(Int32(-result)) {
        route.canSegment = false
        next = first
        cursor = start
        send(
          next..<blocks.upperBound, of: content, from: origin, blockSize: blockSize, numbering: numbering, over: &route)
        return
      }
    }
  }

  /// Sends one small packet.
  func send(_ packet: [UInt8], over route: Route) {
    var addresses = route.addresses
    packet.withUnsafeBytes { bytes in
      entries[0] = clinux_tftp_part(start: bytes.baseAddress, count: bytes.count)
      _ = clinux_tftp_send(route.descriptor, entries, 1, 0, &addresses)
    }
  }

  private static func refusesSegments(_ error: Int32) -> Bool {
    [EINVAL, EIO, EMSGSIZE, ENOPROTOOPT, EOPNOTSUPP].contains(error)
  }
}

/// A place in content.
private struct Cursor {
  private let content: OpenContent
  private var piece = 0
  private var offset: Int

  init(content: OpenContent, offset: Int) {
    self.content = content
    self.offset = offset
    while piece < content.pieces.count, self.offset >= content.pieces[piece].count {
      self.offset -= content.pieces[piece].count
      piece += 1
    }
  }

  /// Lists where the next `count` bytes are, fewer at the end, and goes on behind them.
  /// - Returns: How many entries were filled: at most one for each piece.
  mutating func take(_ count: Int, into entries: UnsafeMutablePointer<clinux_tftp_part>) -> Int {
    var missing = count
    var used = 0
    while missing > 0, piece < content.pieces.count {
      let current = content.pieces[piece]
      let length = min(missing, current.count - offset)
      entries[used] = clinux_tftp_part(start: current.start + offset, count: length)
      used += 1
      missing -= length
      offset += length
      if offset == current.count {
        piece += 1
        offset = 0
      }
    }
    return used
  }
}
