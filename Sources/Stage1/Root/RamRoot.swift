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
    let pipeline = FramePipeline(servers: boot.servers(first: client.server), blob: root.blob, index: index)
    let path = boot.newRoot
    try RootFetch.run(pipeline, step, boot: boot, through: &client) { try TreeConsumer(path) }
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
    // What a try before this one has filled is not to be counted as taken.
    while umount2(path, CInt(MNT_DETACH)) == 0 {}
    let memory = MemoryNeed(rootBytes: root.bytes, entries: root.entries)
    let available = MemoryNeed.available()
    let image = root.image.map { (OverlayRoot.name, MemoryNeed(imageBytes: $0.size)) }
    if let complaint = memory.complaint(available: available, other: image) {
      throw StepFailure(what: complaint, canRetry: true)
    }
    let options = "mode=0755,size=\(memory.limit(total: Int64(clamping: clinux_memory_bytes()))),nr_inodes=0"
    try check("mount tmpfs at \(path) (\(options))") { mount("perseid", path, "tmpfs", 0, options) }
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
