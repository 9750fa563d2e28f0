import CapsuleFormat
import ConfigurationFile

extension CapsuleSettings {
  /// Reads the file in a tree; the defaults where it has none.
  ///
  /// - Throws: `CapsuleError` with code `badSettings`.
  init(_ tree: FileTree) throws {
    guard let item = tree.file(Self.path) else { return }
    let bytes = try tree.read(item, limit: Self.sizeLimit)
    let file = "/\(Self.path) in the \(tree.source.words)"
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw Self.bad("\(file): it is not UTF-8 text")
    }
    do {
      self = try Self.parse(yaml: text, file: file)
    } catch let error as ConfigurationError {
      throw Self.bad(String(error.description.dropLast()))
    }
  }

  private static func bad(_ problem: String) -> CapsuleError {
    CapsuleError(.badSettings, problem, remedy: "Change that file in the tree, and import it again")
  }

  /// An error in a key that only the tree can judge.
  func error(_ key: String, _ problem: String) -> CapsuleError {
    let line = lines[key].map { ", line \($0)" } ?? ""
    return Self.bad("/\(Self.path) in the tree\(line): \(key): \(problem)")
  }

  /// The scripts of the capsule's own, as `STATE/NN-name`; what is no nodescript is passed over and said.
  ///
  /// - Throws: `CapsuleError` with code `badSettings`.
  func nodescripts(in tree: FileTree, note: (String) -> Void) throws -> FileBundle {
    var bundle = FileBundle()
    guard let directory = tree.directory(nodescripts) else {
      if lines["nodescripts"] != nil { throw error("nodescripts", "there is no directory /\(nodescripts) in the tree") }
      return bundle
    }
    for state in tree.names(in: directory) {
      guard let inside = tree.directory("\(directory)/\(state)"), NodescriptName.isValidState(state) else {
        note("/\(directory)/\(state) is left out: it is not a directory that is named after a state")
        continue
      }
      var names: [String: String] = [:]
      for file in tree.names(in: inside) {
        guard let parsed = NodescriptName.parse(file), let item = tree.file("\(inside)/\(file)") else {
          note("/\(inside)/\(file) is left out: it is not a nodescript (NN-name, or NN-name.server)")
          continue
        }
        if let other = names.updateValue(file, forKey: parsed.name) {
          throw Self.bad("Two nodescripts in /\(inside) of the tree have one base name: \(other) and \(file)")
        }
        guard let path = TreePath("\(state)/\(file)") else { continue }
        bundle.files[path] = FileBundle.File(
          isExecutable: true, content: try tree.read(item, limit: NodescriptName.sizeLimit))
      }
    }
    return bundle
  }

  /// What configures and keeps the capsule: this file, the recipe, hooks, and the lists that hooks read.
  ///
  /// - Throws: `CapsuleError` with code `badSettings` where a hook that is named is not there.
  func tools(in tree: FileTree) throws -> FileBundle {
    var bundle = FileBundle()
    for name in ["capsule.yaml", "recipe.yaml", "livesync.skip", "hybridize"] {
      guard let item = tree.file("\(Self.directory)/\(name)"), let path = TreePath(name) else { continue }
      bundle.files[path] = FileBundle.File(content: try tree.read(item, limit: Self.sizeLimit))
    }
    for hook in Hook.allCases {
      let path = path(of: hook)
      guard let item = tree.file(path) else {
        if hooks[hook] != nil { throw error("hooks.\(hook.rawValue)", "there is no file /\(path) in the tree") }
        continue
      }
      guard let inside = TreePath("hooks/\(hook.rawValue)") else { continue }
      bundle.files[inside] = FileBundle.File(isExecutable: true, content: try tree.read(item, limit: Self.sizeLimit))
    }
    return bundle
  }
}
