package import CapsuleFormat

/// A module as it was imported: looked over from end to end, its templates parsed. It never changes.
package struct Module: Sendable {
  package let manifest: ModuleManifest
  /// Its nodescripts: those of every state under `""`, the others under their state. Paths are in the module.
  package let scripts: [String: [Script]]
  package let templates: [String: ModuleTemplate]
  package let files: [String: [UInt8]]
  /// Of what it was imported from: the same files have the same.
  package let identity: String

  package struct Script: Hashable, Sendable {
    /// `10-hostname`, without `.server`.
    package var name: String
    /// `nodescripts/init/10-hostname`.
    package var path: String

    /// The last part of the path.
    package var file: String { path.split(separator: "/").last.map(String.init) ?? path }
  }

  package var name: String { manifest.name }

  /// The scripts that it has for a state: its own ones take the place of those for every state.
  package func scripts(in state: String) -> [Script] {
    let own = scripts[state] ?? []
    let names = Set(own.map(\.name))
    return ((scripts[""] ?? []).filter { !names.contains($0.name) } + own).sorted { $0.name < $1.name }
  }

  /// Whether a node that is in this state would get anything of it.
  package func isFor(_ state: String) -> Bool {
    !scripts(in: state).isEmpty || manifest.files.contains { $0.isFor(state) }
  }

  /// The states that it names itself.
  package var states: [String] {
    Set(scripts.keys.filter { !$0.isEmpty } + manifest.files.flatMap(\.states) + manifest.roles.map(\.state)).sorted()
  }

  /// Bytes of all of its files, and their number.
  package static let sizeLimit = 8 << 20
  package static let countLimit = 1024

  /// Looks everything over.
  /// - Parameter source: Where it came from, for messages.
  /// - Throws: `ApplianceError`.
  package init(_ bundle: FileBundle, source: String, identity: String) throws {
    func refused(_ what: String) -> ApplianceError {
      ApplianceError(.refused, "The module \(printable(source, 200)) cannot be imported: \(what)")
    }
    guard bundle.files.count <= Self.countLimit else {
      throw refused("it has \(bundle.files.count) files, where at most \(Self.countLimit) are taken.")
    }
    let bytes = bundle.files.values.reduce(0) { $0 + $1.content.count }
    guard bytes <= Self.sizeLimit else {
      throw refused("its files have \(bytes) bytes, where at most \(Self.sizeLimit) are taken.")
    }
    var contents: [String: [UInt8]] = [:]
    for (path, file) in bundle.files { contents["\(path)"] = file.content }
    guard let yaml = contents["module.yaml"] else {
      throw refused("it has no file module.yaml at its top, which gives it a name. See docs/modules.md.")
    }
    guard yaml.count <= ModuleManifest.sizeLimit, let text = String(validating: yaml, as: UTF8.self) else {
      throw refused("its module.yaml is no text, or larger than \(ModuleManifest.sizeLimit) bytes.")
    }
    do {
      manifest = try ModuleManifest.parse(yaml: text, file: "module.yaml")
    } catch {
      throw refused("\(error)")
    }
    scripts = try Self.scripts(contents, refused)
    var templates: [String: ModuleTemplate] = [:]
    var files: [String: [UInt8]] = [:]
    var paths: Set<String> = []
    for file in manifest.files {
      // One path may be told twice for different states.
      for state in file.states.isEmpty ? ["every state"] : file.states {
        guard paths.insert("\(state) \(file.path)").inserted else {
          throw refused("module.yaml has the file \(file.path) twice for \(state).")
        }
      }
      switch file.source {
      case .template(let path):
        guard let content = contents[path] else { throw refused("module.yaml names \(path), which is not in it.") }
        guard let text = String(validating: content, as: UTF8.self) else {
          throw refused("the template \(path) is no UTF-8 text.")
        }
        do {
          templates[path] = try ModuleTemplate(name: "\(manifest.name): \(path)", text: text)
        } catch let error as ApplianceError {
          throw refused(error.message)
        }
      case .file(let path):
        guard let content = contents[path] else { throw refused("module.yaml names \(path), which is not in it.") }
        files[path] = content
      case .site, .hostKey: break
      }
    }
    self.templates = templates
    self.files = files
    self.identity = identity
    for role in manifest.roles where !isFor(role.state) {
      throw refused("module.yaml has the role \(role), but there is no script and no file for \(role.state).")
    }
  }

  private static func scripts(
    _ contents: [String: [UInt8]], _ refused: (String) -> ApplianceError
  ) throws -> [String: [Script]] {
    var scripts: [String: [Script]] = [:]
    for path in contents.keys.sorted() where path.hasPrefix("nodescripts/") {
      let parts = path.split(separator: "/").map(String.init)
      guard parts.count <= 3, let file = parts.last, let (name, _) = NodescriptName.parse(file) else {
        throw refused("\(path) is no nodescript: nodescripts/NN-name, or nodescripts/STATE/NN-name, is one.")
      }
      let state = parts.count == 3 ? parts[1] : ""
      guard state.isEmpty || NodeName.isValidState(state) else {
        throw refused("\(path) is for '\(printable(state, 64))', which is not the name of a state.")
      }
      guard (contents[path]?.count ?? 0) <= NodescriptName.sizeLimit else {
        throw refused("\(path) has more than \(NodescriptName.sizeLimit) bytes.")
      }
      if let other = scripts[state]?.first(where: { $0.name == name }) {
        throw refused("\(other.path) and \(path) have one base name, \(name): only one of them would run.")
      }
      scripts[state, default: []].append(Script(name: name, path: path))
    }
    return scripts
  }
}
