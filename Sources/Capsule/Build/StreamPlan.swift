import CapsuleFormat

import struct Crypto.SHA256

/// Where each entry of a tree stands in its tar stream, and what its bytes there depend on.
struct StreamPlan: Sendable {
  /// Where the entries begin in the stream, in order; the last one is the end mark.
  let starts: [UInt64]
  /// Bytes of the stream.
  let length: UInt64
  /// For each entry, and last for the end mark, a digest of its header and of the identity of the file its content is
  /// in. As long as it is the same, so are the bytes. Empty where contents have no identity.
  let stamps: [Digest]

  /// - Parameter settled: Only files whose status is older than this can be told from later versions of themselves
  ///   (seconds since 1970).
  init(_ tree: FileTree, settled: Int64) throws {
    var starts: [UInt64] = []
    starts.reserveCapacity(tree.items.count + 1)
    var stamps: [Digest] = []
    let hasIdentities = tree.source.directory != nil
    var position: UInt64 = 0
    for (number, item) in tree.items.enumerated() {
      if number.isMultiple(of: 4096) { try Task.checkCancellation() }
      starts.append(position)
      let header = try TarWriter.header(of: item.entry)
      position += UInt64(header.count)
      if case .file = item.entry.kind {
        position += item.entry.size + UInt64(TarWriter.padding(after: item.entry.size))
      }
      if hasIdentities { stamps.append(Self.stamp(header, item.content, settled: settled)) }
    }
    starts.append(position)
    if hasIdentities { stamps.append(Digest(of: TarWriter.end)) }
    self.starts = starts
    self.stamps = stamps
    length = position + UInt64(TarWriter.end.count)
  }

  private static func stamp(_ header: [UInt8], _ content: FileTree.Content, settled: Int64) -> Digest {
    var hash = SHA256()
    hash.update(data: header)
    if case .file(let identity) = content {
      var numbers = [
        identity.device, identity.inode, identity.size, identity.modifiedSeconds, identity.modifiedNanoseconds,
        identity.changedSeconds, identity.changedNanoseconds,
      ]
      // A file that changed just now can change again without a sign of it, within one tick of the system's clock.
      if identity.changedSeconds >= settled { numbers += [.random(in: .min ... .max), .random(in: .min ... .max)] }
      numbers.withUnsafeBytes { hash.update(bufferPointer: $0) }
    }
    guard let digest = Digest(bytes: Array(hash.finalize())) else { preconditionFailure("SHA-256 has 32 bytes") }
    return digest
  }

  /// The number of the entry that a byte of the stream belongs to; the number of entries for the end mark.
  func entry(at position: UInt64) -> Int {
    var (low, high) = (0, starts.count)
    while low < high {
      let middle = (low + high) / 2
      if starts[middle] <= position { low = middle + 1 } else { high = middle }
    }
    return low - 1
  }

  /// What the bytes from a position on depend on: the stamps of so many entries, and where it begins in the first.
  ///
  /// - Returns: `nil` where there are fewer entries, or no stamps.
  func span(from position: UInt64, entries: Int) -> Digest? {
    let first = entry(at: position)
    guard entries > 0, entries <= stamps.count - first else { return nil }
    var hash = SHA256()
    withUnsafeBytes(of: (position - starts[first]).littleEndian) { hash.update(bufferPointer: $0) }
    for stamp in stamps[first..<first + entries] { hash.update(data: stamp.bytes) }
    return Digest(bytes: Array(hash.finalize()))
  }
}
