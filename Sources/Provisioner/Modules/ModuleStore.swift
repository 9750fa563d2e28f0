package import CapsuleFormat
import Crypto
import FoundationEssentials
import Glibc
import Synchronization

/// `<state>/modules/NAME`: what was imported. Each version has a directory of its own, and the name is a link to it
/// that changes at once. What plans need of a module is in memory.
package final class ModuleStore: Sendable {
  package let directory: String
  private let state = Mutex(State())

  private struct State {
    var modules: [String: Module] = [:]
    /// Changes begun and ended: a plan that was made across one is made again.
    var begun = 0
    var ended = 0
    var damaged: [String] = []
    var waiting: [CheckedContinuation<Int, Never>] = []
  }

  /// Reads what is there. A module that cannot be read is named in `damaged`.
  package init(directory: String) {
    self.directory = directory
    var modules: [String: Module] = [:]
    var damaged: [String] = []
    for name in ((try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []).sorted() {
      if name.hasPrefix(".new-") { try? FileManager.default.removeItem(atPath: directory + "/" + name) }
      guard ModuleManifest.isValid(name: name) else { continue }
      do {
        let (bundle, identity) = try Self.read(directory + "/" + name)
        let module = try Module(bundle, source: name, identity: identity)
        if module.name == name { modules[name] = module } else { damaged.append("\(name): it is named \(module.name)") }
      } catch {
        damaged.append("\(name): \(error)")
      }
    }
    let found = (modules, damaged)
    state.withLock { state in (state.modules, state.damaged) = found }
  }

  package var modules: [String: Module] { state.withLock { $0.modules } }
  package var damaged: [String] { state.withLock { $0.damaged } }
  /// Stays the same while nothing changes; `nil` while something does.
  package var epoch: Int? { state.withLock { $0.begun == $0.ended ? $0.begun : nil } }
  package func module(_ name: String) -> Module? { state.withLock { $0.modules[name] } }

  /// The identity of files: of their paths and contents.
  package static func identity(_ bundle: FileBundle) -> String {
    var hash = SHA256()
    for (path, file) in bundle.files.sorted(by: { $0.key < $1.key }) {
      hash.update(data: Array("\(path)".utf8) + [0] + Array("\(file.content.count)".utf8) + [0] + file.content)
    }
    return hash.finalize().map { $0 < 16 ? "0" + String($0, radix: 16) : String($0, radix: 16) }.joined()
  }

  /// Puts a module there, or a new version in place of one: whoever reads finds the old one or the new one.
  /// - Parameter change: What belongs to it and is to be seen with it.
  package func install(_ module: Module, _ bundle: FileBundle, with change: () throws -> Void) throws {
    let name = module.name
    let version = ".\(name)-\(module.identity.prefix(16))"
    let path = directory + "/" + version
    do {
      try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
      if !FileManager.default.fileExists(atPath: path) {
        let new = "\(directory)/.new-\(name)-\(UInt32.random(in: 0 ... .max))"
        for (file, content) in bundle.files {
          let target = URL(filePath: "\(new)/\(file)")
          try FileManager.default.createDirectory(
            at: target.deletingLastPathComponent(), withIntermediateDirectories: true)
          try Data(content.content).write(to: target)
        }
        guard rename(new, path) == 0 else { throw ModuleDiskError(path: path, code: errno) }
      }
    } catch {
      throw ApplianceError(
        .failed, "The module \(name) cannot be put into \(directory): \(error). See that the disk has room, and retry.")
    }
    let before = try? FileManager.default.destinationOfSymbolicLink(atPath: directory + "/" + name)
    begin()
    defer { end() }
    try Self.link(directory + "/" + name, to: version)
    state.withLock { $0.modules[name] = module }
    try change()
    if let before, before != version, before.hasPrefix(".\(name)-") {
      try? FileManager.default.removeItem(atPath: directory + "/" + before)
    }
  }

  package func remove(_ name: String) throws {
    begin()
    defer { end() }
    let link = directory + "/" + name
    let version = try? FileManager.default.destinationOfSymbolicLink(atPath: link)
    state.withLock { _ = $0.modules.removeValue(forKey: name) }
    guard unlink(link) == 0 || errno == ENOENT else {
      throw ApplianceError(.failed, "\(link) cannot be removed: \(String(cString: strerror(errno))). Remove it.")
    }
    if let version, version.hasPrefix(".\(name)-") {
      try? FileManager.default.removeItem(atPath: directory + "/" + version)
    }
  }

  /// Something that plans see changes during `body`.
  package func changing<Value>(_ body: () throws -> Value) rethrows -> Value {
    begin()
    defer { end() }
    return try body()
  }

  private func begin() { state.withLock { $0.begun += 1 } }

  private func end() {
    let (epoch, waiting) = state.withLock { state in
      state.ended += 1
      guard state.begun == state.ended else { return (0, [CheckedContinuation<Int, Never>]()) }
      defer { state.waiting = [] }
      return (state.begun, state.waiting)
    }
    for waiter in waiting { waiter.resume(returning: epoch) }
  }

  /// Waits for the end of a change that is under way, which only writes a few links.
  /// - Returns: The epoch.
  package func settled() async -> Int {
    await withCheckedContinuation { continuation in
      let epoch: Int? = state.withLock { state in
        if state.begun == state.ended { return state.begun }
        state.waiting.append(continuation)
        return nil
      }
      if let epoch { continuation.resume(returning: epoch) }
    }
  }

  /// Puts a symbolic link there, at once, in place of one that is there.
  static func link(_ path: String, to target: String) throws {
    let new = path + ".new-link"
    unlink(new)
    guard symlink(target, new) == 0, rename(new, path) == 0 else {
      throw ApplianceError(
        .failed,
        "The link \(path) cannot be made: \(String(cString: strerror(errno))). Remove what is there, and retry.")
    }
  }

  private static func read(_ directory: String) throws -> (FileBundle, String) {
    var bundle = FileBundle()
    var bytes = 0
    let root = URL(filePath: directory).resolvingSymlinksInPath().path
    for file in try FileManager.default.subpathsOfDirectory(atPath: root) {
      let path = root + "/" + file
      guard let attributes = try? FileManager.default.attributesOfItem(atPath: path),
        attributes[.type] as? FileAttributeType == .typeRegular, let inside = TreePath(file)
      else { continue }
      let content = [UInt8](try Data(contentsOf: URL(filePath: path)))
      bytes += content.count
      guard bytes <= Module.sizeLimit, bundle.files.count <= Module.countLimit else {
        throw ApplianceError(.refused, "it is larger than \(Module.sizeLimit) bytes or \(Module.countLimit) files.")
      }
      bundle.files[inside] = FileBundle.File(content: content)
    }
    return (bundle, identity(bundle))
  }
}

private struct ModuleDiskError: Error, CustomStringConvertible {
  var path: String
  var code: Int32

  var description: String { "\(path): \(String(cString: strerror(code)))" }
}
