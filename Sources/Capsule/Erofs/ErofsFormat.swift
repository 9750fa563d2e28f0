import CapsuleFormat

/// What an erofs image is made of (Linux, fs/erofs/erofs_fs.h): blocks of 4 KiB, extended inodes, and of file contents
/// "legacy" indexes of LZ4 clusters that are filled from their ends.
enum ErofsFormat {
  static let blockSize = 4096
  /// Inodes are numbered by their place: in units of so many bytes.
  static let slotSize = 32
  static let inodeSize = 64
  /// A cluster holds so much of a file, and takes at most as many blocks.
  static let clusterBytes = LZ4Encoder.inputLimit
  static let clusterBlocks = clusterBytes / blockSize

  static func blocks(_ bytes: UInt64) -> UInt64 { (bytes + UInt64(blockSize) - 1) / UInt64(blockSize) }

  enum Layout: UInt16 {
    case plain = 0
    case compressed = 1
    case inline = 2
  }

  /// What a directory says its entry is.
  static func fileType(_ kind: TarEntry.Kind) -> UInt8 {
    switch kind {
    case .file, .hardLink: 1
    case .directory: 2
    case .characterDevice: 3
    case .blockDevice: 4
    case .fifo: 5
    case .symbolicLink: 7
    }
  }

  /// The permissions and what it is (inode(7)).
  static func mode(of entry: TarEntry) -> UInt16 {
    let type: UInt32 =
      switch entry.kind {
      case .file, .hardLink: 0o100000
      case .directory: 0o040000
      case .characterDevice: 0o020000
      case .blockDevice: 0o060000
      case .fifo: 0o010000
      case .symbolicLink: 0o120000
      }
    return UInt16(truncatingIfNeeded: type | entry.mode & 0o7777)
  }

  /// The extended attributes as they stand behind an inode; nothing where there are none.
  static func attributes(of entry: TarEntry) throws(CapsuleError) -> [UInt8] {
    var bytes: [UInt8] = []
    for attribute in entry.extendedAttributes {
      // ACLs have no name behind their number, name spaces have the rest of it.
      let known: [(index: UInt8, prefix: String, isWhole: Bool)] = [
        (1, "user.", false), (2, "system.posix_acl_access", true), (3, "system.posix_acl_default", true),
        (4, "trusted.", false), (6, "security.", false),
      ]
      guard
        let space = known.first(where: { space in
          space.isWhole
            ? attribute.name.elementsEqual(space.prefix.utf8) : attribute.name.starts(with: space.prefix.utf8)
        })
      else { continue }
      let name = attribute.name.dropFirst(space.prefix.utf8.count)
      guard name.count <= 255, attribute.value.count <= 65535 else { throw tooLarge(entry) }
      if bytes.isEmpty { bytes = [UInt8](repeating: 0, count: 12) }
      bytes.append(UInt8(name.count))
      bytes.append(space.index)
      bytes.append(little: UInt16(attribute.value.count))
      bytes += name
      bytes += attribute.value
      bytes.pad(to: 4)
    }
    guard bytes.count <= 65535 * 4 else { throw tooLarge(entry) }
    return bytes
  }

  private static func tooLarge(_ entry: TarEntry) -> CapsuleError {
    CapsuleError(
      .badSource, "The extended attributes of '\(entry.path)' are larger than an erofs image takes",
      remedy: "Take them off, or leave overlay out of the root modes in the tree's /etc/perseid/capsule.yaml")
  }

  /// - Parameters:
  ///   - place: The first block, the number of blocks, or the device.
  ///   - attributes: Bytes of extended attributes behind it.
  static func inode(
    of entry: TarEntry, _ layout: Layout, size: UInt64, place: UInt32, number: Int, links: Int, attributes: Int
  ) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(inodeSize)
    bytes.append(little: 1 | layout.rawValue << 1)
    bytes.append(little: attributes == 0 ? UInt16(0) : UInt16((attributes - 12) / 4 + 1))
    bytes.append(little: mode(of: entry))
    bytes.append(little: UInt16(0))
    bytes.append(little: size)
    bytes.append(little: place)
    bytes.append(little: UInt32(truncatingIfNeeded: number))
    bytes.append(little: entry.userID)
    bytes.append(little: entry.groupID)
    bytes.append(little: UInt64(bitPattern: entry.modified.seconds))
    bytes.append(little: entry.modified.nanoseconds)
    bytes.append(little: UInt32(clamping: links))
    bytes.pad(to: inodeSize)
    return bytes
  }

  /// A device's number as inodes have it (Linux, new_encode_dev).
  static func device(of kind: TarEntry.Kind) -> UInt32 {
    switch kind {
    case .characterDevice(let major, let minor), .blockDevice(let major, let minor):
      minor & 0xFF | (major & 0xFFF) << 8 | (minor & ~0xFF) << 12
    default: 0
    }
  }

  /// Bytes that an index of so many blocks of content takes, before which there may be 4 to be a multiple of 8.
  static func indexSize(blocks: UInt64) -> Int { 16 + 8 * (Int(blocks) + 1) }

  /// Where each block of a file is.
  ///
  /// - Parameters:
  ///   - clusters: Blocks that each of the file's clusters takes.
  ///   - first: The first of them.
  static func index(of size: UInt64, clusters: ArraySlice<UInt8>, first: UInt32) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(indexSize(blocks: blocks(size)))
    bytes.append(little: UInt32(0))
    // Clusters of several blocks; LZ4; as large as a block is what an entry stands for.
    bytes.append(little: UInt16(2))
    bytes.append(little: UInt16(0))
    bytes.append(little: UInt64(0))
    var place = first
    var left = size
    for cluster in clusters {
      let covered = Int(blocks(min(left, UInt64(clusterBytes))))
      left -= min(left, UInt64(clusterBytes))
      if Int(cluster) == covered {
        // Not compressed: each block by itself.
        for block in 0..<covered { bytes.append(indexEntry: 0, place + UInt32(block)) }
      } else {
        bytes.append(indexEntry: 1, place)
        for block in 1..<covered {
          // How far the cluster's first entry is; the first one says its blocks instead. And how far the next cluster is.
          let back = block == 1 ? 1 << 11 | UInt32(cluster) : UInt32(block)
          bytes.append(indexEntry: 2, back | UInt32(covered - block) << 16)
        }
      }
      place += UInt32(cluster)
    }
    bytes.append(little: UInt16(0))
    bytes.append(little: UInt16(size % UInt64(blockSize)))
    bytes.append(little: UInt32(0))
    return bytes
  }

  /// The image's first block.
  static func firstBlock(inodes: Int, blocks: UInt32, metadata: UInt32, root: UInt16) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 1024)
    bytes.append(little: 0xE0F5_E1E2 as UInt32)
    bytes.append(little: UInt32(0))
    // It has a checksum, and the times are those of modification.
    bytes.append(little: UInt32(3))
    bytes += [12, 0]
    bytes.append(little: root)
    bytes.append(little: UInt64(inodes))
    // No time of its making.
    bytes += [UInt8](repeating: 0, count: 12)
    bytes.append(little: blocks)
    bytes.append(little: metadata)
    bytes.append(little: UInt32(0))
    bytes += [0x50, 0x45, 0x52, 0x53, 0x45, 0x49, 0x44, 0, 0x80, 0, 0, 0, 0, 0, 0, 2]
    bytes += [UInt8](repeating: 0, count: 16)
    // Clusters begin with zeros; they are larger than a block, and what LZ4 needs is said below.
    bytes.append(little: UInt32(3))
    bytes.append(little: UInt16(1))
    bytes.pad(to: 1024 + 128)
    bytes.append(little: UInt16(14))
    bytes.append(little: UInt16.max)
    bytes.append(little: UInt16(clusterBlocks))
    bytes.pad(to: blockSize)
    let sum = checksum(bytes[1024...])
    withUnsafeBytes(of: sum.littleEndian) { bytes.replaceSubrange(1028..<1032, with: $0) }
    return bytes
  }

  /// CRC-32C over the superblock and the rest of its block, begun with all ones and not inverted at the end.
  private static func checksum(_ bytes: ArraySlice<UInt8>) -> UInt32 {
    var crc = UInt32.max
    for byte in bytes {
      crc ^= UInt32(byte)
      for _ in 0..<8 { crc = crc >> 1 ^ (crc & 1 == 1 ? 0x82F6_3B78 : 0) }
    }
    return crc
  }
}

/// A directory's blocks: sorted entries, each with its name in the same block.
struct ErofsDirectory {
  struct Entry {
    var name: ArraySlice<UInt8>
    /// Of the tree's items.
    var item: Int
    var type: UInt8
  }

  private let entries: [Entry]
  /// How many entries are in each block.
  private var counts: [Int] = []
  let size: Int

  init(_ children: [Entry], item: Int, parent: Int) {
    let own = [
      Entry(name: Array(".".utf8)[...], item: item, type: 2), Entry(name: Array("..".utf8)[...], item: parent, type: 2),
    ]
    entries = (own + children).sorted { $0.name.lexicographicallyPrecedes($1.name) }
    var used = 0
    var count = 0
    for entry in entries {
      let length = 12 + entry.name.count
      if used + length > ErofsFormat.blockSize {
        counts.append(count)
        (used, count) = (0, 0)
      }
      used += length
      count += 1
    }
    size = counts.count * ErofsFormat.blockSize + used
    counts.append(count)
  }

  /// - Parameter number: Of an item's inode.
  func bytes(_ number: (Int) -> UInt64) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(size)
    var first = 0
    for count in counts {
      bytes.pad(to: ErofsFormat.blockSize)
      let block = entries[first..<first + count]
      var nameOffset = 12 * count
      for entry in block {
        bytes.append(little: number(entry.item))
        bytes.append(little: UInt16(nameOffset))
        bytes.append(entry.type)
        bytes.append(0)
        nameOffset += entry.name.count
      }
      for entry in block { bytes += entry.name }
      first += count
    }
    return bytes
  }
}

extension [UInt8] {
  mutating func append(little value: some FixedWidthInteger) {
    Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
  }

  /// Zeros up to a multiple of `unit`.
  mutating func pad(to unit: Int) {
    append(contentsOf: repeatElement(0, count: (unit - count % unit) % unit))
  }

  fileprivate mutating func append(indexEntry type: UInt16, _ place: UInt32) {
    append(little: type)
    append(little: UInt16(type == 2 ? 4096 : 0))
    append(little: place)
  }
}
