import CLinux
import CapsuleFormat
import Glibc
package import StateClient
package import StateProtocol

/// Root mode `ram`: the tree is unpacked into a tmpfs.
package enum RamRoot: RootMode {
  package static let name = "ram"

  package static func fill(
    _ step: Step, _ root: Step.Root, boot: Boot, through client: inout StateClient
  ) throws {
    let index = try frameIndex(step, root, through: &client)
    try mountMemory(root, at: boot.newRoot)
    let label = "root"
    let started = Clock.now
    let pipeline = FramePipeline(servers: boot.servers(first: client.server), blob: root.blob, index: index)
    var previous = (done: Int64(0), at: started)
    var work = FramePipeline.Work()
    let path = boot.newRoot
    func watch(_ progress: FramePipeline.Progress) {
      for note in progress.notes {
        boot.say(note)
        boot.report(
          StepEvent(
            step: step.name, outcome: .progress, detail: note, completedBytes: progress.done,
            totalBytes: progress.total), through: &client)
      }
      let now = Clock.now
      let rate = Double(progress.done - previous.done) / max(now - previous.at, 0.001)
      previous = (progress.done, now)
      work = progress.work
      boot.console.progress(label, done: progress.done, total: progress.total, bytesPerSecond: rate)
      guard progress.done < progress.total else { return }
      boot.report(
        StepEvent(
          step: step.name, outcome: .progress, completedBytes: progress.done, totalBytes: progress.total),
        through: &client)
    }
    try pipeline.run(makeConsumer: { try TreeConsumer(path) }, watch: watch)
    let seconds = Clock.now - started
    boot.console.progress(
      label, done: root.bytes, total: root.bytes, bytesPerSecond: Double(root.bytes) / max(seconds, 0.001),
      isLast: true)
    boot.say("root: \(work)")
  }

  private static func frameIndex(
    _ step: Step, _ root: Step.Root, through client: inout StateClient
  ) throws -> FrameIndex {
    let bytes = try client.content(step.digest, length: step.length, limit: FrameIndex.sizeLimit)
    let index: FrameIndex
    do {
      index = try FrameIndex(decoding: bytes)
    } catch {
      throw StepFailure(what: "the frame index \(step.digest) cannot be read: \(error)", canRetry: false)
    }
    guard Int64(clamping: index.compressedLength) == root.blob.size,
      Int64(clamping: index.uncompressedLength) == root.bytes
    else {
      throw StepFailure(
        what: "the frame index has \(index.compressedLength) and \(index.uncompressedLength) bytes, where the plan "
          + "says \(root.blob.size) and \(root.bytes): the capsule is damaged, verify it on the appliance",
        canRetry: false)
    }
    return index
  }

  private static func mountMemory(_ root: Step.Root, at path: String) throws {
    let memory = MemoryNeed(rootBytes: root.bytes, entries: root.entries)
    let available = MemoryNeed.available()
    if let complaint = memory.complaint(available: available) { throw StepFailure(what: complaint, canRetry: true) }
    while umount2(path, CInt(MNT_DETACH)) == 0 {}
    let options = "mode=0755,size=\(memory.limit(total: Int64(clamping: clinux_memory_bytes()))),nr_inodes=0"
    try check("mount tmpfs at \(path) (\(options))") { mount("perseid", path, "tmpfs", 0, options) }
  }
}

/// What a root in memory takes, in bytes.
package struct MemoryNeed: Hashable, Sendable {
  /// Content, the pages' fractions and the inodes of the tree.
  package let tree: Int64
  /// What the pipeline and the system's own start need beside it.
  package static let beside: Int64 = 96 << 20

  package init(rootBytes: Int64, entries: Int64) {
    // Half a page is lost for each file on average, and an inode with its name takes about 1 KiB. The tar
    // stream has headers instead, of about the same size.
    let (extra, overflow) = min(entries, 1 << 30).multipliedReportingOverflow(by: 3072)
    tree = min(rootBytes, 1 << 60) + (overflow ? 0 : extra)
  }

  /// The tmpfs's size: the tree and room to work, at least half of the memory as Linux itself would give.
  package func limit(total: Int64) -> Int64 {
    max(tree + tree / 4 + (64 << 20), total / 2)
  }

  /// Why it cannot fit; `nil` where it can.
  package func complaint(available: Int64) -> String? {
    guard tree + Self.beside > available else { return nil }
    return "the root needs \(tree >> 20) MiB of memory and \(Self.beside >> 20) MiB beside it; "
      + "\(available >> 20) MiB are free. Add memory, or assign a smaller capsule"
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

/// Unpacks the tar stream.
package struct TreeConsumer: FrameConsumer {
  private var reader = TarReader()
  private var writer: TreeWriter

  package init(_ path: String) throws {
    writer = try TreeWriter(path)
  }

  package mutating func consume(_ bytes: UnsafeRawBufferPointer) throws {
    try reader.consume(bytes, into: &writer)
  }

  package mutating func finish() throws {
    try reader.finish()
    try writer.finish()
  }
}
