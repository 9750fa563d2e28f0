import CLinux
package import CapsuleFormat
import Glibc
package import StateClient
package import StateProtocol

/// Root mode `overlay`: the capsule's erofs image stays in memory as it is, and what the node writes goes into a tmpfs
/// over it.
package enum OverlayRoot: RootMode {
  package static let name = "overlay"
  /// How often an image that is not what it should be is fetched.
  private static let corruptionLimit = 3
  private static let modules = ["loop", "erofs", "overlay"]

  package static func fill(
    _ step: Step, _ root: Step.Root, boot: Boot, through client: inout StateClient
  ) throws {
    guard let image = root.image else {
      throw StepFailure(
        what: "root mode overlay needs the capsule's erofs image, and the plan names none; import the capsule again, "
          + "or set root mode ram for this node",
        canRetry: true)
    }
    for name in modules { boot.modules?.load(named: name) }
    if let missing = missing(filesystems: SmallFile.text("/proc/filesystems")) {
      let reasons = boot.modules?.failures.filter { failure in modules.contains { failure.hasPrefix("\($0):") } } ?? []
      throw StepFailure(what: ([missing] + reasons).joined(separator: "; "), canRetry: true)
    }
    let need = MemoryNeed(imageBytes: image.size)
    if let complaint = need.complaint(available: MemoryNeed.available()) {
      throw StepFailure(what: complaint, canRetry: true)
    }
    let mounts = OverlayMounts(target: boot.newRoot)
    do {
      try mounts.begin(imageBytes: image.size)
      try fetch(image, step, to: mounts.image, boot: boot, through: &client)
      let room = Int64(clamping: clinux_memory_bytes()) / 2
      try mounts.assemble(room: room)
      boot.say("root: an image of \(image.size >> 20) MiB, and up to \(room >> 20) MiB over it for what is written")
    } catch {
      mounts.release()
      throw error
    }
  }

  /// What the kernel lacks for this mode, and what to do; `nil` where it has all.
  /// - Parameter filesystems: /proc/filesystems.
  package static func missing(
    filesystems: String?, loopControl: String = "/dev/loop-control"
  ) -> String? {
    let known = Set((filesystems ?? "").split(whereSeparator: \.isWhitespace).map(String.init))
    var missing = ["erofs", "overlay"].filter { !known.contains($0) }
    if !SmallFile.exists(loopControl) { missing.append("loop") }
    guard !missing.isEmpty else { return nil }
    return "root mode overlay needs \(missing.joined(separator: " and ")) in the kernel, which has it neither built in "
      + "nor as a module in this initramfs; set root mode ram for this node, or import the capsule again with a kernel "
      + "that has it"
  }

  /// Fetches the image into a file. It has one digest: corrupted, it is fetched again as a whole, and another
  /// appliance is asked first where there is one.
  package static func fetch(
    _ image: Descriptor, _ step: Step, to path: String, boot: Boot, through client: inout StateClient
  ) throws {
    var servers = boot.servers(first: client.server)
    var count = 0
    while true {
      let pipeline = FramePipeline(servers: servers, plain: image)
      do {
        try RootFetch.run(pipeline, step, boot: boot, through: &client) { try ImageConsumer(path, image) }
        return
      } catch let fault as ImageCorrupted {
        count += 1
        guard count < corruptionLimit else { throw fault }
        servers.append(servers.removeFirst())
        let others = servers.count > 1 ? ", \(servers[0]) is asked first" : ""
        RootFetch.tell("\(fault); it is fetched again\(others)", at: nil, step, boot, &client)
      }
    }
  }
}

/// An image that is not what its digest says.
package struct ImageCorrupted: Error, Hashable, Sendable, CustomStringConvertible {
  package var description: String
}

/// Writes an image into a file of its own, and verifies the whole.
package final class ImageConsumer: FrameConsumer {
  private let path: String
  private let image: Descriptor
  private let file: OpenFile
  private var hash = ContentHash()

  package init(_ path: String, _ image: Descriptor) throws {
    self.path = path
    self.image = image
    unlink(path)
    file = try OpenFile(path, flags: O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o400)
  }

  package func consume(_ bytes: UnsafeRawBufferPointer) throws {
    hash.update(bytes)
    try file.write(bytes, to: path)
  }

  /// - Throws: `ImageCorrupted`; the file is then gone.
  package func finish() throws {
    let found = hash.finish()
    guard found == image.digest else {
      unlink(path)
      throw ImageCorrupted(
        description: "the root's image is corrupted: expected \(image.digest), got \(found)")
    }
  }
}
