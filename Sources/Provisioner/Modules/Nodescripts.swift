import CapsuleFormat
import FoundationEssentials

/// One script that a node is to run in a state.
package struct Nodescript: Hashable, Sendable {
  /// The base name, which orders scripts and by which a later level replaces an earlier one: `10-hostname`.
  package var name: String
  /// `vnfs/debian-12`, `all`, `group/gpu`, `node/n0001`.
  package var level: String
  package var path: String
  /// Runs on the appliance; what it prints is what the node runs.
  package var isServer: Bool
  /// Of one that a capsule carries; `nil` for a file of the appliance's.
  package var carried: [UInt8]?
  /// Levels whose script of this name it took the place of, the earliest first.
  package var replaced: [String]
}

/// `<state>/nodescripts/STATE/{vnfs/X,all,group/X,node/X}/NN-name`, read live.
package struct NodescriptTree: Sendable {
  package let directory: String
  private let files = ScriptFiles()

  /// Most scripts of one state for one node, and bytes of one script.
  package static let countLimit = 512
  package static let sizeLimit = NodescriptName.sizeLimit

  package init(directory: String) {
    self.directory = directory
  }

  /// The states that have a directory.
  package var states: [String] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
    return names.filter(NodeName.isValidState).sorted()
  }

  /// The scripts of a state for a node, in the order in which they run.
  /// - Parameter capsule: What the capsule itself carries for the state, by file name. The appliance's own files at
  ///   `vnfs/NAME` replace those of the same base name.
  /// - Parameter groups: The main one first; of two groups' scripts the one of the group nearer to the front stays.
  /// - Throws: `ApplianceError` where two scripts of one directory have one base name, or there are too many.
  package func scripts(
    state: String, vnfs: String, groups: [String], node: String, capsule: [String: [UInt8]] = [:]
  ) throws -> [Nodescript] {
    guard NodeName.isValidState(state) else {
      throw ApplianceError(
        .invalid,
        "'\(state.prefix(64))' is not the name of a state: "
          + "\(NodeName.stateWords)."
      )
    }
    let levels = Self.levels(vnfs: vnfs, groups: groups, node: node)
    let own = ("vnfs/\(vnfs)", capsule.keys.sorted())
    var scripts = try Self.resolve([own] + levels.map { ($0, files.regularFiles(in: "\(directory)/\(state)/\($0)")) })
    // A file of the appliance's has an absolute path.
    for index in scripts.indices { scripts[index].carried = capsule[scripts[index].path] }
    return scripts
  }

  /// The levels of a node in the order in which they are collected: the last one is the nearest.
  /// - Parameter groups: The main one first.
  package static func levels(vnfs: String, groups: [String], node: String) -> [String] {
    ["vnfs/\(vnfs)", "all"] + groups.reversed().map { "group/\($0)" } + ["node/\(node)"]
  }

  /// The rule of replacement: collected in the order of the levels, a later level's script takes the place of
  /// one with its base name; then all in the order of their base names.
  package static func resolve(_ levels: [(level: String, paths: [String])]) throws -> [Nodescript] {
    var scripts: [String: Nodescript] = [:]
    for (level, paths) in levels {
      var here: [String: String] = [:]
      for path in paths {
        let file = path.split(separator: "/").last.map(String.init) ?? path
        guard let (name, isServer) = baseName(file) else { continue }
        if let other = here.updateValue(file, forKey: name) {
          throw ApplianceError(
            .refused,
            "Two nodescripts at \(level) have the base name \(name): \(other) and \(file). Remove one of them.")
        }
        let before = scripts[name].map { $0.replaced + [$0.level] } ?? []
        scripts[name] = Nodescript(name: name, level: level, path: path, isServer: isServer, replaced: before)
      }
    }
    guard scripts.count <= countLimit else {
      throw ApplianceError(
        .refused, "There are \(scripts.count) nodescripts for one state, where at most \(countLimit) are run.")
    }
    return scripts.values.sorted { $0.name < $1.name }
  }

  /// `10-hostname.server` is `10-hostname`, run on the appliance. `nil` for what is no nodescript: hidden
  /// files, editors' copies, names that do not begin with two digits and a hyphen.
  package static func baseName(_ file: String) -> (name: String, isServer: Bool)? {
    NodescriptName.parse(file)
  }

  /// The bytes of a script.
  /// - Throws: `ApplianceError`.
  package func read(_ script: Nodescript) throws -> [UInt8] {
    if let carried = script.carried { return carried }
    return try files.read(script.path, limit: Self.sizeLimit)
  }
}
