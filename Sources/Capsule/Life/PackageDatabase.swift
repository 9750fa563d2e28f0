#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What a tree's package manager says is installed: dpkg's and apk's text files, and rpm's database where the
/// program rpm is on this machine.
enum PackageDatabase {
  /// Bytes of one file of it that are read.
  static let sizeLimit = 512 << 20

  static func isPart(_ path: String) -> Bool {
    path == "var/lib/dpkg/status" || path.hasPrefix("var/lib/dpkg/status.d/") || path == "lib/apk/db/installed"
      || path == "usr/lib/apk/db/installed" || rpmDirectory(of: path) != nil
  }

  private static let rpmDirectories = ["usr/lib/sysimage/rpm/", "var/lib/rpm/"]

  private static func rpmDirectory(of path: String) -> String? {
    rpmDirectories.first { path.hasPrefix($0) && !path.dropFirst($0.count).contains("/") }
  }

  /// Versions by name; of a foreign architecture, or where several are installed, the name says which.
  ///
  /// - Parameter files: Their contents by path.
  static func packages(
    _ files: [String: [UInt8]], scratchIn temporaryDirectory: String
  ) throws(CapsuleError) -> [String: String] {
    var packages: [String: String] = [:]
    for (path, bytes) in files {
      if path.hasPrefix("var/lib/dpkg/") {
        packages.merge(paragraphs(bytes, name: "Package", version: "Version", of: dpkgName)) { $1 }
      } else if path.hasSuffix("apk/db/installed") {
        packages.merge(paragraphs(bytes, name: "P", version: "V") { $0["P"] }) { $1 }
      }
    }
    packages.merge(try rpmPackages(files, temporaryDirectory)) { first, _ in first }
    return packages
  }

  private static func dpkgName(_ fields: [String: String]) -> String? {
    // deb-control(5): "want flag status", and a package that was removed keeps its paragraph.
    if let status = fields["Status"], !status.hasSuffix(" installed") { return nil }
    guard let name = fields["Package"] else { return nil }
    return fields["Multi-Arch"] == "same" ? "\(name):\(fields["Architecture"] ?? "")" : name
  }

  /// Paragraphs of `Key: value` lines; a line that begins with a space belongs to the one before.
  private static func paragraphs(
    _ bytes: [UInt8], name: String, version: String, of key: ([String: String]) -> String?
  ) -> [String: String] {
    let wanted: Set<String> = [name, version, "Status", "Architecture", "Multi-Arch"]
    var packages: [String: String] = [:]
    var fields: [String: String] = [:]
    func end() {
      if let name = key(fields), let version = fields[version] { packages[name] = version }
      fields = [:]
    }
    for line in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
      if line.isEmpty {
        end()
      } else if let colon = line.firstIndex(of: UInt8(ascii: ":")), line.first != UInt8(ascii: " ") {
        let field = String(decoding: line[..<colon], as: UTF8.self)
        guard wanted.contains(field) else { continue }
        fields[field] = String(
          decoding: line[(colon + 1)...].drop { $0 == UInt8(ascii: " ") }, as: UTF8.self)
      }
    }
    end()
    return packages
  }

  private static func rpmPackages(
    _ files: [String: [UInt8]], _ temporaryDirectory: String
  ) throws(CapsuleError) -> [String: String] {
    let database = rpmDirectories.first { directory in
      files.keys.contains {
        $0.hasPrefix(directory) && ($0.hasSuffix(".sqlite") || $0.hasSuffix("Packages.db") || $0.hasSuffix("/Packages"))
      }
    }
    guard let database, isInstalled("rpm") else { return [:] }
    let scratch = try ScratchDirectory(in: temporaryDirectory)
    for (path, bytes) in files where path.hasPrefix(database) {
      let copy = scratch.path + "/" + path.dropFirst(database.count)
      guard let file = FileDescriptor.open(copy, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600),
        bytes.withUnsafeBytes({ file.writeAll($0) })
      else { throw .writing(copy, errno: errno) }
    }
    guard let null = FileDescriptor.open("/dev/null", O_RDONLY) else { throw .reading("/dev/null", errno: errno) }
    let format = "%{NAME}.%{ARCH} %|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\\n"
    let filter = try Filter(
      ["rpm", "--dbpath", scratch.path, "--query", "--all", "--queryformat", format], input: null.number)
    var output: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while let count = buffer.withUnsafeMutableBytes({ filter.output.fill($0) }), count > 0 {
      output += buffer[..<count]
      guard output.count <= sizeLimit else { break }
    }
    try filter.finish(reading: database)
    var packages: [String: [String]] = [:]
    for line in String(decoding: output, as: UTF8.self).split(separator: "\n") {
      let parts = line.split(separator: " ", maxSplits: 1)
      if parts.count == 2 { packages[String(parts[0]), default: []].append(String(parts[1])) }
    }
    // Several kernels are installed side by side.
    return packages.mapValues { $0.sorted().joined(separator: ", ") }
  }

  private static func isInstalled(_ program: String) -> Bool {
    ["/usr/bin/", "/bin/", "/usr/local/bin/"].contains { access($0 + program, X_OK) == 0 }
  }
}
