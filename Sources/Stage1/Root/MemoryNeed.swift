import StateClient

/// What a root in memory takes, in bytes.
package struct MemoryNeed: Hashable, Sendable {
  /// The root itself: of a tree content, the pages' fractions and the inodes; of an image its bytes.
  package let bytes: Int64
  /// For a person: `the root`.
  private let what: String
  /// What the pipeline and the system's own start need beside it.
  package static let beside: Int64 = 96 << 20

  /// A tree.
  package init(rootBytes: Int64, entries: Int64) {
    // Half a page is lost for each file on average, and an inode with its name takes about 1 KiB. The tar
    // stream has headers instead, of about the same size.
    let (extra, overflow) = min(entries, 1 << 30).multipliedReportingOverflow(by: 3072)
    bytes = min(rootBytes, 1 << 60) + (overflow ? 0 : extra)
    what = "the root"
  }

  /// An image that stays as it is.
  package init(imageBytes: Int64) {
    bytes = min(max(0, imageBytes), 1 << 60)
    what = "the root's image"
  }

  /// A tmpfs's size: the tree and room to work, at least half of the memory as Linux itself would give.
  package func limit(total: Int64) -> Int64 {
    max(bytes + bytes / 4 + (64 << 20), total / 2)
  }

  /// Why it cannot fit; `nil` where it can.
  /// - Parameter other: Another way to have the same root: named where that one fits.
  package func complaint(available: Int64, other: (mode: String, need: MemoryNeed)? = nil) -> String? {
    guard bytes + Self.beside > available else { return nil }
    let way =
      if let other, other.need.complaint(available: available) == nil {
        ", or set root mode \(other.mode) for this node, which needs \(other.need.bytes >> 20) MiB"
      } else {
        ", or assign a smaller capsule"
      }
    return "\(what) needs \(bytes >> 20) MiB of memory and \(Self.beside >> 20) MiB beside it; "
      + "\(available >> 20) MiB are free. Add memory\(way)"
  }

  /// MemAvailable of /proc/meminfo.
  package static func available(_ text: String? = SmallFile.text("/proc/meminfo")) -> Int64 {
    for line in (text ?? "").split(separator: "\n") where line.hasPrefix("MemAvailable:") {
      let words = line.split(separator: " ")
      if words.count >= 2, let kibibytes = Int64(words[1]) { return kibibytes << 10 }
    }
    // Unknown is not too little.
    return .max
  }
}
