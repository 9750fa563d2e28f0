import CapsuleFormat

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Unpacks root file systems with the system's tar.
enum Unpacker {
  /// - Parameter directory: Made here; not there yet.
  /// - Throws: `CapsuleError`: `tool` where tar or zstd fails, `storage` and `noSpace` where the disk does.
  static func unpack(_ capsule: StoredCapsule, from store: ContentStore, into directory: String) throws(CapsuleError) {
    guard geteuid() == 0 else {
      throw CapsuleError(
        .storage, "The capsule \(capsule.config.name) can be unpacked by root only: its files have owners and devices",
        remedy: "Run the command as root")
    }
    guard mkdir(directory, 0o755) == 0 else { throw .writing(directory, errno: errno) }
    do {
      try Filter.run([
        "tar", "--extract", "--zstd", "--file", store.path(of: capsule.rootFileSystem.digest), "--directory", directory,
        "--numeric-owner", "--same-owner", "--preserve-permissions", "--xattrs", "--xattrs-include=*",
        "--warning=no-timestamp",
      ])
    } catch {
      var status = statvfs()
      if statvfs(directory, &status) == 0, status.f_bavail == 0 { throw .writing(directory, errno: ENOSPC) }
      throw error
    }
  }
}
