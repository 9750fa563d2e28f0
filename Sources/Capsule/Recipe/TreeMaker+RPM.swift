#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A tree of RPM packages, made by this host's dnf.
///
/// Nothing of the host's own configuration of dnf and rpm is used where the recipe names repositories, and nothing is
/// written outside of the tree and the scratch directory.
extension TreeMaker {
  /// Where rpm of Fedora since 36, of Enterprise Linux since 10 and of SUSE has its database.
  private static let database = "usr/lib/sysimage/rpm"
  /// Where all others have it.
  private static let olderDatabase = "var/lib/rpm"

  func installRPM(_ base: Recipe.RPM) throws {
    guard !recipe.packages.isEmpty else {
      throw CapsuleError(
        .badSettings, "The recipe names no packages for its RPM tree", remedy: "Name them under packages in the recipe")
    }
    say("making an RPM tree of release \(base.release) with dnf")
    let settings = scratch.path + "/dnf"
    try write(configuration(base, in: settings), to: settings + "/dnf.conf")
    for (number, address) in base.repositories.enumerated() {
      try write(Self.repository(number, address, base), to: settings + "/repos/recipe\(number).repo")
    }
    // What is mounted in the tree is not the packages' to change.
    try write(
      "%_dbpath /\(Self.database)\n%_netsharedpath /dev:/proc:/run:/sys\n", to: settings + "/home/.rpmmacros")
    try makeDirectory(root, mode: 0o755)
    // Scripts of packages run in the tree.
    try isolated(
      [
        "sh", "-euc", Self.mounts + "\ncd /; shift; exec \"$@\"", "sh", root, "env", "HOME=\(settings)/home",
        "LC_ALL=C.UTF-8", "dnf", "--config=\(settings)/dnf.conf", "--assumeyes", "--installroot=\(root)",
        "--releasever=\(base.release)", "--forcearch=\(architecture == "arm64" ? "aarch64" : "x86_64")", "install",
      ] + recipe.packages, program: "dnf", purpose: "Making the RPM tree")
    try settleDatabase()
    try removeTraces()
  }

  private func configuration(_ base: Recipe.RPM, in settings: String) -> String {
    var lines = [
      "[main]", "best=True", "install_weak_deps=False", "keepcache=False", "plugins=False", "retries=3", "timeout=30",
      "skip_if_unavailable=False",
    ]
    // Those of the host bring their own keys.
    if !base.repositories.isEmpty {
      lines += ["reposdir=\(settings)/repos", "varsdir=\(settings)/vars", "gpgcheck=\(base.checksSignatures)"]
    }
    return lines.joined(separator: "\n") + "\n"
  }

  private static func repository(_ number: Int, _ address: String, _ base: Recipe.RPM) -> String {
    var lines = [
      "[recipe\(number)]", "name=\(address)", "baseurl=\(address)", "gpgcheck=\(base.checksSignatures)",
      "skip_if_unavailable=False",
    ]
    if !base.keys.isEmpty { lines.append("gpgkey=\(base.keys.joined(separator: " "))") }
    return lines.joined(separator: "\n") + "\n"
  }

  private func write(_ text: String, to path: String) throws(CapsuleError) {
    try scratch.write(Array(text.utf8), to: path)
  }

  /// Puts the database where the tree's own rpm looks for it.
  private func settleDatabase() throws {
    let macros = (try? readFile(try placeFor("usr/lib/rpm/macros"), limit: 16 << 20)) ?? []
    let isOlder = String(decoding: macros, as: UTF8.self).split(whereSeparator: \.isNewline).contains { line in
      let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
      return words.first == "%_dbpath" && words.last?.hasSuffix("/lib/rpm") == true
    }
    guard isOlder else { return }
    for file in ["rpmdb.sqlite", "rpmdb.sqlite-shm", "rpmdb.sqlite-wal"] {
      let place = try placeFor("\(Self.olderDatabase)/\(file)")
      guard rename(try placeFor("\(Self.database)/\(file)"), place) == 0 || errno == ENOENT else {
        throw CapsuleError.writing(place, errno: errno)
      }
    }
  }

  /// What dnf keeps for itself. Without its history all packages count as wanted, not as pulled in by others.
  private func removeTraces() throws {
    let traces =
      ["var/cache/dnf", "var/lib/dnf"]
      + ["dnf.log", "dnf.librepo.log", "dnf.rpm.log", "hawkey.log"].map { "var/log/\($0)" }
    try isolated(
      ["rm", "-rf", "--"] + traces.map { try placeFor($0) } + [try placeFor("\(Self.database)/.rpm.lock")],
      purpose: "Removing what dnf left in the tree")
  }
}
