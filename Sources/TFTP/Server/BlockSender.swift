import CLinux
import Glibc

/// Sends blocks straight from the content's own memory: the kernel gathers headers and payloads, and cuts
/// a run of equal blocks into packets by itself (UDP segmentation offload), so a window is one or two system calls.
/// Single blocks, which answer the ACKs of many clients, wait for one another and leave in one call: see `flush`.
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
  /// Single blocks that have yet to leave.
  private var queue = BlockQueue()

  deinit {
    headers.deallocate()
    entries.deallocate()
    page.deallocate()
    queue.deallocate()
  }

  /// How a socket takes packets; the kernel's answer to the first attempt decides.
  struct Route {
    var descriptor: Int32
    var addresses: clinux_tftp_addresses
    /// Whether the kernel may be asked to cut packets: a network card without checksum offload cannot.
    var canSegment = true
  }

  /// Sends the blocks that have waited. Until then their content has to stay where it is.
  func flush() {
    queue.send()
  }

  /// Sends these blocks, each once, a single one with the next `flush`. Packets leave in the order in which they were
  /// sent here. What the kernel does not take counts as lost on the way: it will be asked for again.
  /// - Parameter blocks: From 1 on, the last at most the content's last.
  /// - Throws: Where the content is a file that is not what it was any more; nothing of what is new was sent.
  func send(
    _ blocks: Range<Int64>, of content: OpenContent, blockSize: Int, numbering: BlockNumbering, over route: inout Route
  ) throws(FileChanged) {
    if blocks.count == 1, content.file == nil {
      queue.add(blocks.lowerBound, of: content, blockSize: blockSize, numbering: numbering, over: route)
      return
    }
    flush()
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
        numbering.writeHeader(of: next, to: header)
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
    flush()
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

extension BlockNumbering {
  /// Writes the head of a DATA packet.
  fileprivate func writeHeader(of block: Int64, to header: UnsafeMutablePointer<UInt8>) {
    let number = wire(block)
    header[0] = 0
    header[1] = Packet.dataOpcode
    header[2] = UInt8(number >> 8)
    header[3] = UInt8(truncatingIfNeeded: number)
  }
}

/// Blocks of one socket that leave together.
private struct BlockQueue {
  private static let capacity = Int(CLINUX_TFTP_DATAGRAMS)
  /// Enough for blocks that lie across a few seams of their content, and for one across the most there can be.
  private static let maximumEntries = 1024

  private let datagrams = UnsafeMutablePointer<clinux_tftp_datagram>.allocate(capacity: capacity)
  private let headers = UnsafeMutablePointer<UInt8>.allocate(capacity: capacity * Packet.headerSize)
  private let entries = UnsafeMutablePointer<clinux_tftp_part>.allocate(capacity: maximumEntries)
  private var descriptor: Int32 = -1
  private var count = 0
  private var entryCount = 0

  mutating func add(
    _ block: Int64, of content: OpenContent, blockSize: Int, numbering: BlockNumbering, over route: BlockSender.Route
  ) {
    if route.descriptor != descriptor || count == Self.capacity
      || entryCount + content.pieces.count + 1 > Self.maximumEntries
    {
      send()
      descriptor = route.descriptor
    }
    let header = headers + count * Packet.headerSize
    numbering.writeHeader(of: block, to: header)
    let parts = entries + entryCount
    parts[0] = clinux_tftp_part(start: header, count: Packet.headerSize)
    var cursor = Cursor(content: content, offset: (Int(block) - 1) * blockSize)
    let used = 1 + cursor.take(blockSize, into: parts + 1)
    datagrams[count] = clinux_tftp_datagram(parts: parts, count: used, addresses: route.addresses)
    entryCount += used
    count += 1
  }

  mutating func send() {
    guard count > 0 else { return }
    clinux_tftp_send_all(descriptor, datagrams, Int32(count))
    count = 0
    entryCount = 0
  }

  func deallocate() {
    datagrams.deallocate()
    headers.deallocate()
    entries.deallocate()
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
