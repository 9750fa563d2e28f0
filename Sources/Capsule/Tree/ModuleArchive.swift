package import CapsuleFormat

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A directory or an archive of a handful of small files, as modules come.
package enum ModuleArchive {
  /// - Throws: `CapsuleError`.
  package static func read(_ path: String) throws -> FileBundle {
    var status = stat()
    guard stat(path, &status) == 0 else { throw CapsuleError.reading(path, errno: errno) }
    return status.st_mode & S_IFMT == S_IFDIR ? try directory(path) : try archive(path)
  }

  private static func unfit(_ path: String, _ reason: String) -> CapsuleError {
    CapsuleError(
      .badArchive, "\(path) cannot be imported: \(reason)",
      remedy: "Import a directory or a tar archive (plain, gz, xz, bz2 or zst) with a file module.yaml at its top")
  }

  private static func directory(_ top: String) throws -> FileBundle {
    var bundle = FileBundle()
    var bytes = 0
    func walk(_ inside: String) throws {
      let path = inside.isEmpty ? top : "\(top)/\(inside)"
      guard let handle = opendir(path) else { throw CapsuleError.reading(path, errno: errno) }
      defer { closedir(handle) }
      while let entry = readdir(handle) {
        let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
          String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        // Hidden files are a version control's, an editor's or a desktop's.
        if name.hasPrefix(".") { continue }
        let child = inside.isEmpty ? name : "\(inside)/\(name)"
        var status = stat()
        guard lstat("\(top)/\(child)", &status) == 0 else {
          throw CapsuleError.reading("\(top)/\(child)", errno: errno)
        }
        switch status.st_mode & S_IFMT {
        case S_IFDIR: try walk(child)
        case S_IFREG:
          guard let treePath = TreePath(child) else { throw unfit(top, "'\(child)' is no name for a file") }
          bytes += Int(status.st_size)
          guard bytes <= FileBundle.streamLimit, bundle.files.count < FileBundle.entryLimit else {
            throw unfit(top, "it is larger than \(FileBundle.streamLimit) bytes or \(FileBundle.entryLimit) files")
          }
          bundle.files[treePath] = FileBundle.File(
            isExecutable: status.st_mode & 0o111 != 0,
            content: try whole("\(top)/\(child)", limit: FileBundle.streamLimit))
        default: throw unfit(top, "'\(child)' is neither a file nor a directory")
        }
      }
    }
    try walk("")
    return bundle
  }

  private static func archive(_ path: String) throws -> FileBundle {
    guard let file = FileDescriptor.open(path, O_RDONLY) else { throw CapsuleError.reading(path, errno: errno) }
    var start = [UInt8](repeating: 0, count: 8)
    guard start.withUnsafeMutableBytes({ file.fill($0, at: 0) }) == start.count else {
      throw unfit(path, "it is too short to be a tar archive")
    }
    do {
      switch ArchiveImporter.Compression(start) {
      case .zstd: return lifted(try FileBundle(decoding: try drain(file, path, limit: FileBundle.blobLimit)))
      case .none: return try bundle(try drain(file, path, limit: FileBundle.streamLimit))
      case .program(let command):
        let filter = try Filter(command, input: file.number)
        let stream = try drain(filter.output, path, limit: FileBundle.streamLimit)
        try filter.finish(reading: path)
        return try bundle(stream)
      }
    } catch let error as TarError {
      throw unfit(path, error.description)
    } catch let error as ZstdError {
      throw unfit(path, error.description)
    }
  }

  /// The same as a bundle's blob has, so that there is one reader with its limits.
  private static func bundle(_ tar: [UInt8]) throws -> FileBundle {
    lifted(try FileBundle(decoding: try ZstdCompressor(level: 1).compress(tar)))
  }

  /// An archive of one directory is that directory.
  private static func lifted(_ bundle: FileBundle) -> FileBundle {
    guard let manifest = TreePath("module.yaml"), bundle.files[manifest] == nil else { return bundle }
    let tops = Set(bundle.files.keys.map { "\($0)".split(separator: "/").first.map(String.init) ?? "" })
    guard tops.count == 1, let top = tops.first else { return bundle }
    var lifted = FileBundle()
    for (path, file) in bundle.files {
      guard let inside = TreePath(String("\(path)".dropFirst(top.count + 1))), !inside.isRoot else { return bundle }
      lifted.files[inside] = file
    }
    return lifted
  }

  private static func whole(_ path: String, limit: Int) throws -> [UInt8] {
    guard let file = FileDescriptor.open(path, O_RDONLY) else { throw CapsuleError.reading(path, errno: errno) }
    return try drain(file, path, limit: limit)
  }

  private static func drain(_ file: borrowing FileDescriptor, _ path: String, limit: Int) throws -> [UInt8] {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      guard let count = buffer.withUnsafeMutableBytes({ file.fill($0) }) else {
        throw CapsuleError.reading(path, errno: errno)
      }
      if count == 0 { return bytes }
      bytes += buffer[..<count]
      guard bytes.count <= limit else { throw unfit(path, "it holds more than \(limit) bytes") }
    }
  }
}
