import Foundation
import Lab

/// Making capsules, beside the shell's own pipeline and the limits we set ourselves.
struct CapsuleComparison {
  let rounds: Int

  func run(_ progress: @Sendable (String) -> Void) async throws -> [Row] {
    // On the disk that capsules are kept on, not in memory.
    let scratch = "\(Cache.directory)/bench-capsule-\(getpid())"
    try FileManager.default.createDirectory(atPath: scratch, withIntermediateDirectories: true)
    defer { ScratchDirectory.remove(scratch) }
    progress("capsules: unpacking Debian 12 until there is a GiB of it")
    let tree = scratch + "/tree"
    try await shell(Self.gibibyte, try Cache.debianTree("bookworm"), tree)
    var imports: [Double] = []
    var plainImports: [Double] = []
    var pipelines: [Double] = []
    var seconds: [Double] = []
    for round in 1...rounds {
      let pipeline = try await timed {
        try await shell("tar -C \"$1\" -c . | zstd -3 -T0 | sha256sum >/dev/null", tree)
      }
      pipelines.append(pipeline)
      let site = try Importer(directory: "\(scratch)/state-\(round)")
      let first = try await timed { try await site.importTree(tree) }
      imports.append(first)
      // What changed within two seconds before a build is read again; now nothing did.
      try await shell("echo round $2 >\"$1/etc/motd\"", tree, "\(round)")
      let second = try await timed { try await site.importTree(tree) }
      seconds.append(second)
      site.remove()
      try await shell("mkdir -p \"$1/etc/perseid\"; echo 'root: { modes: ram }' >\"$1/etc/perseid/capsule.yaml\"", tree)
      let plain = try Importer(directory: "\(scratch)/state-\(round)-ram")
      plainImports.append(try await timed { try await plain.importTree(tree) })
      plain.remove()
      try await shell("rm -r \"$1/etc/perseid\"", tree)
      progress(
        "capsules, round \(round) of \(rounds): tar, zstd and sha256sum \(rounded(pipeline)) s, import \(rounded(first)) s, "
          + "again after a change \(rounded(second)) s")
    }
    let update = try await update(scratch)
    progress("capsules: after a package update a node fetches \(rounded(update * 100)) % of the root")
    return [
      Row(
        name: "capsule: import of 1 GiB, root mode ram", unit: "s", ours: plainImports, theirs: pipelines,
        peer: "tar | zstd -3 -T0 | sha256sum", goal: 1),
      Row(
        name: "capsule: import of 1 GiB with erofs image", unit: "s", ours: imports, theirs: pipelines,
        peer: "tar | zstd -3 -T0 | sha256sum", goal: 1),
      Row(
        name: "capsule: import after one changed file", unit: "s", ours: seconds, theirs: imports,
        peer: "the first import",
        goal: 0.1),
      Row(
        name: "capsule: bytes to fetch after a package update", unit: "share", ours: [update], theirs: [1],
        peer: "the whole root", goal: 0.15),
    ]
  }

  /// A package of the tree gets another version, with every file in it changed, and dpkg installs that.
  private func update(_ scratch: String) async throws -> Double {
    let tree = scratch + "/small"
    try await shell("mkdir \"$2\"; tar -C \"$2\" -xpf \"$1\"", try Cache.debianTree("bookworm"), tree)
    let site = try Importer(directory: scratch + "/state-update")
    defer { site.remove() }
    let before = try await site.importTree(tree)
    try await shell(Self.newVersion, tree, scratch)
    let after = try await site.importTree(tree)
    let known = Set(try site.frames(of: before).map(\.content))
    let frames = try site.frames(of: after)
    let whole = frames.reduce(0) { $0 + $1.bytes }
    return Double(frames.filter { !known.contains($0.content) }.reduce(0) { $0 + $1.bytes }) / Double(whole)
  }

  private func timed(_ body: () async throws -> Void) async throws -> Double {
    // What earlier rounds left to write is not this one's.
    try await shell("sync")
    let start = ContinuousClock.now
    try await body()
    return (ContinuousClock.now - start).seconds
  }

  private func shell(_ script: String, _ arguments: String...) async throws {
    try await Command(["sh", "-euc", script, "sh"] + arguments).run(timeout: .seconds(600)).check()
  }

  /// $1: the archive of a Debian, $2: where to. Copies of it stand beside it until there is a GiB.
  private static let gibibyte = """
    mkdir "$2"; tar -C "$2" -xpf "$1"
    part=0
    while [ "$(du -sm "$2" | cut -f1)" -lt 1024 ]; do
      part=$((part + 1)); mkdir -p "$2/srv/$part"
      tar -C "$2/srv/$part" --exclude './boot' --exclude './dev' -xpf "$1"
      # No two files the same, as in a real system.
      find "$2/srv/$part" -type f -size +8k -exec sh -c 'for f; do echo "'$part'" >>"$f"; done' sh {} +
    done
    """

  /// $1: the tree, $2: where to work. libssl3, the library that is updated most often, with all its files changed.
  private static let newVersion = """
    package=libssl3
    mkdir -p "$2/package/DEBIAN"
    dpkg-query --admindir="$1/var/lib/dpkg" -L $package | while read -r file; do
      [ -f "$1$file" ] || continue
      mkdir -p "$2/package$(dirname "$file")"
      cp -a "$1$file" "$2/package$file"
      # Another compiler's output: every hundredth byte is another.
      [ -L "$1$file" ] || perl -0777 -pi -e 's/(.{99})./$1#/gs' "$2/package$file"
    done
    dpkg-query --admindir="$1/var/lib/dpkg" -f 'Package: ${Package}\\nVersion: ${Version}+new\\nArchitecture: ${Architecture}\\nMulti-Arch: ${Multi-Arch}\\nMaintainer: nobody\\nDescription: changed\\n' \\
      -W $package >"$2/package/DEBIAN/control"
    dpkg-deb --root-owner-group -Zgzip -b "$2/package" "$2/new.deb" >/dev/null
    dpkg --root="$1" --force-depends --force-script-chrootless -i "$2/new.deb" >/dev/null
    """
}

/// `perseid vnfs import` into a state directory that no appliance runs on.
private struct Importer {
  private let directory: String
  private var state: String { directory + "/state" }

  init(directory: String) throws {
    self.directory = directory
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    var settings = Appliance.Settings()
    settings.interface = "lo"
    settings.pool = "127.0.0.2-127.0.0.9"
    try settings.yaml(state: directory + "/state")
      .write(toFile: directory + "/perseid.yaml", atomically: true, encoding: .utf8)
  }

  /// - Returns: The digest of the capsule's manifest.
  @discardableResult
  func importTree(_ tree: String) async throws -> String {
    struct Answer: Decodable { var digest: String }
    let result = try await Command(
      Appliance.executable, "--config", directory + "/perseid.yaml", "vnfs", "import", tree, "--name", "bench", "--yes",
      "--json"
    ).run(timeout: .seconds(600)).check()
    return try JSONDecoder().decode(Answer.self, from: Data(result.output.utf8)).digest
  }

  func remove() { ScratchDirectory.remove(directory) }

  /// The frames of a capsule's root (docs/capsule-format.md, "Frame index").
  func frames(of capsule: String) throws -> [(content: Data, bytes: Int)] {
    struct Manifest: Decodable {
      struct Layer: Decodable {
        var mediaType: String
        var digest: String
      }
      var layers: [Layer]
    }
    func blob(_ digest: String) throws -> Data {
      try Data(contentsOf: URL(fileURLWithPath: "\(state)/blobs/sha256/\(digest.dropFirst(7))"))
    }
    let manifest = try JSONDecoder().decode(Manifest.self, from: try blob(capsule))
    guard let layer = manifest.layers.first(where: { $0.mediaType.hasSuffix(".frameindex.v1") }) else {
      throw LabError("the capsule \(capsule) has no frame index")
    }
    let index = try blob(layer.digest)
    return stride(from: 32, to: index.count, by: 80).map { start in
      let length = (0..<4).reduce(0) { $0 | Int(index[start + 8 + $1]) << (8 * $1) }
      return (Data(index[start + 48..<start + 80]), length)
    }
  }
}
