import Foundation
import NetworkTypes

/// A state directory with capsules in it, imported once for each build of `perseid` and then copied.
package actor CapsuleTemplate {
  package static let shared = CapsuleTemplate()

  private var imported: Set<String> = []
  private var underway: Task<Void, any Error>?

  /// Makes a state directory that holds capsules of these Debian releases, named as the lab names them.
  /// - Parameter suites: `bookworm` becomes `debian-12`, `trixie` becomes `debian-13`.
  package func makeState(at state: String, suites: [String] = ["bookworm"]) async throws {
    // One import at a time; who comes second finds the work done.
    let previous = underway
    let task = Task {
      _ = await previous?.result
      for suite in suites { try await self.importTree(suite) }
    }
    underway = task
    try await task.value
    try await Command("cp", "-a", "--reflink=auto", Self.directory(try await Self.key()), state)
      .run(timeout: .seconds(120)).check()
  }

  package static func capsuleName(_ suite: String) -> String {
    ["bookworm": "debian-12", "trixie": "debian-13"][suite] ?? suite
  }

  private func importTree(_ suite: String) async throws {
    guard !imported.contains(suite) else { return }
    let tree = try Cache.debianTree(suite)
    let directory = Self.directory(try await Self.key())
    try await Self.removeOthers(than: directory)
    let mark = "\(directory).\(suite)"
    let stamp = try Self.stamp(of: tree)
    if (try? String(contentsOfFile: mark, encoding: .utf8)) != stamp {
      try? FileManager.default.removeItem(atPath: mark)
      let scratch = try ScratchDirectory.make()
      defer { try? FileManager.default.removeItem(atPath: scratch) }
      try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
      let configuration = scratch + "/perseid.yaml"
      var settings = Appliance.Settings()
      settings.interface = "lo"
      settings.pool = "127.0.0.2-127.0.0.9"
      try settings.yaml(state: directory).write(toFile: configuration, atomically: true, encoding: .utf8)
      try await Command(
        Appliance.executable, "--config", configuration, "vnfs", "import", tree, "--name", Self.capsuleName(suite),
        "--yes"
      ).run(timeout: .seconds(600)).check()
      try await Command(
        Appliance.executable, "--config", configuration, "group", "set", "kernelArgs", Machine.kernelArguments,
        "cluster",
        "--yes"
      ).run(timeout: .seconds(60)).check()
      try stamp.write(toFile: mark, atomically: true, encoding: .utf8)
    }
    imported.insert(suite)
  }

  /// A capsule holds stage 1, so another build of either executable makes other capsules.
  private static func key() async throws -> String {
    let sums = try await Command("sha256sum", Appliance.executable, Appliance.nodeExecutable).run().check().output
    return sums.split(separator: "\n").map { $0.prefix(12) }.joined(separator: "-")
  }

  private static func directory(_ key: String) -> String { "\(Cache.directory)/capsules-\(key)" }

  /// Older builds' capsules are of no use any more.
  private static func removeOthers(than directory: String) async throws {
    let own = (directory as NSString).lastPathComponent
    for entry in (try? FileManager.default.contentsOfDirectory(atPath: Cache.directory)) ?? []
    where entry.hasPrefix("capsules-") && !entry.hasPrefix(own) {
      try FileManager.default.removeItem(atPath: "\(Cache.directory)/\(entry)")
    }
  }

  private static func stamp(of tree: String) throws -> String {
    let attributes = try FileManager.default.attributesOfItem(
      atPath: (tree as NSString).resolvingSymlinksInPath)
    let modified = (attributes[.modificationDate] as? Date)?.timeIntervalSince1970 ?? 0
    return "\(attributes[.size] ?? 0) \(modified)"
  }
}
