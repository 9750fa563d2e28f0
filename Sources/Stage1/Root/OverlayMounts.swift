import CLinux
import Glibc
package import StateClient

/// The file systems of root mode overlay: a tmpfs that holds the image, the image, a tmpfs for what is written, and
/// the overlay of both, which alone stays to be seen.
package struct OverlayMounts: Sendable {
  private let memory: String
  private let lower: String
  private let upper: String
  private let target: String

  /// - Parameters:
  ///   - directory: Where the parts are mounted while they are put together.
  ///   - target: The root, a directory that is there.
  package init(directory: String = "", target: String) {
    memory = directory + "/root-image"
    lower = directory + "/root-lower"
    upper = directory + "/root-upper"
    self.target = target
  }

  /// Where the image is to be put.
  package var image: String { memory + "/root.erofs" }

  /// Mounts the image's place, empty; anything of an earlier try is gone first.
  package func begin(imageBytes: Int64) throws(SystemError) {
    release()
    for path in [memory, lower, upper] {
      if mkdir(path, 0o700) == -1, errno != EEXIST { throw SystemError("make \(path)") }
    }
    // tmpfs counts whole pages.
    try mountMemory(at: memory, bytes: imageBytes / 4096 * 4096 + 8192)
  }

  /// Mounts the image and the root over it.
  /// - Parameter room: Bytes that the node can write at most.
  package func assemble(room: Int64) throws(SystemError) {
    do {
      let file = try OpenFile(image, flags: O_RDONLY)
      var name = [CChar](repeating: 0, count: 64)
      let size = UInt64(name.count)
      // Held until the mount holds it: nobody's device goes by itself.
      let device = OpenFile(
        owning: try check("make a block device of \(image)") { clinux_loop_attach(file.descriptor, &name, size) })
      let path = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
      try check("mount the image \(image), on \(path), as erofs") { mount(path, lower, "erofs", UInt(MS_RDONLY), "") }
      withExtendedLifetime(device) {}
    }
    try mountMemory(at: upper, bytes: room)
    let (written, work) = (upper + "/written", upper + "/work")
    for path in [written, work] { try check("make \(path)") { mkdir(path, 0o755) } }
    try copyRoot(to: written)
    let options = "lowerdir=\(lower),upperdir=\(written),workdir=\(work)"
    try check("mount the overlay at \(target) (\(options))") { mount("perseid", target, "overlay", 0, options) }
    // The overlay holds its parts; nobody is to change them under it.
    hide()
  }

  /// Lets go of all of it.
  package func release() {
    while umount2(target, CInt(MNT_DETACH)) == 0 {}
    hide()
  }

  private func hide() {
    for path in [upper, lower, memory] {
      while umount2(path, CInt(MNT_DETACH)) == 0 {}
      rmdir(path)
    }
  }

  private func mountMemory(at path: String, bytes: Int64) throws(SystemError) {
    let options = "mode=0700,size=\(bytes),nr_inodes=0"
    try check("mount tmpfs at \(path) (\(options))") { mount("perseid", path, "tmpfs", 0, options) }
  }

  /// A directory that is in both is as the upper one says: the root itself has to be like the image's.
  private func copyRoot(to directory: String) throws(SystemError) {
    var status = stat()
    try check("look at \(lower)") { lstat(lower, &status) }
    try check("set the owner of \(directory)") { chown(directory, status.st_uid, status.st_gid) }
    try check("set the mode of \(directory)") { chmod(directory, status.st_mode & 0o7777) }
    for name in ["security.selinux", "system.posix_acl_access", "system.posix_acl_default"] {
      var value = [UInt8](repeating: 0, count: 64 << 10)
      let length = clinux_attribute_of_link(lower, name, &value, UInt64(value.count))
      guard length > 0 else { continue }
      try check("set the attribute \(name) of \(directory)") {
        clinux_set_attribute_of_link(directory, name, value, UInt64(length))
      }
    }
    let times = [status.st_atim, status.st_mtim]
    try check("set the time of \(directory)") { utimensat(AT_FDCWD, directory, times, 0) }
  }
}
