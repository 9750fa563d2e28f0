import CLinux
import Glibc
package import NetworkTypes
import Synchronization
package import TFTP

/// Files of the site's own, for TFTP: whatever it puts into one directory, at any time.
///
/// The kernel looks for a name below that directory and nowhere else (openat2, RESOLVE_BENEATH): no name, no symbolic
/// link and no renaming at the same moment leads outside. Links within it are followed, so one file can have many names.
package final class SiteFiles: Sendable {
  private let directory: String
  /// Those that are being sent: a thousand nodes that read one file share one descriptor.
  private let open = Mutex<[OpenFile.Identity: Weak]>([:])

  private struct Weak {
    weak var file: OpenFile?
  }

  /// - Parameter directory: Need not exist.
  package init(directory: String) {
    self.directory = directory
  }

  package func content(named name: String, for client: IPv4Address) async -> ContentAnswer {
    guard !name.isEmpty, !name.utf8.contains(0) else { return Self.missing }
    let descriptor = clinux_open_beneath(directory, name)
    guard descriptor >= 0 else {
      switch -descriptor {
      // A link or name that leads outside is as good as none, and a directory in a file's place too.
      case ENOENT, ENOTDIR, EXDEV, ELOOP, ENAMETOOLONG, ENXIO: return Self.missing
      case let error: return .refused("the appliance cannot open \(name): \(String(cString: strerror(error)))")
      }
    }
    guard let file = OpenFile(descriptor: descriptor) else { return Self.missing }
    return .file(shared(file))
  }

  private static let missing = ContentAnswer.notFound("there is no file of this name")

  private func shared(_ file: OpenFile) -> OpenFile {
    open.withLock { open in
      if let other = open[file.identity]?.file { return other }
      if open.count >= 64 { open = open.filter { $0.value.file != nil } }
      open[file.identity] = Weak(file: file)
      return file
    }
  }
}
