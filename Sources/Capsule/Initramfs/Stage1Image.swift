import CapsuleFormat

/// The cpio image of stage 1, which stands behind a capsule's initramfs.
enum Stage1Image {
  /// - Parameter node: The static executable `perseid-node`.
  static func make(_ node: [UInt8]) -> [UInt8] {
    var image = CPIOWriter()
    // The kernel opens it for process 1 before anything is mounted.
    image.addCharacterDevice("dev/console", mode: 0o600, major: 5, minor: 1)
    for directory in ["newroot", "proc", "run", "sys", "tmp"] { image.addDirectory(directory) }
    // A static Swift program looks for itself before main, when /proc is not mounted yet.
    image.addSymbolicLink("proc/self/exe", target: "/init")
    image.addFile("init", mode: 0o755, content: node)
    return image.finish()
  }
}
