import CapsuleFormat
import FoundationEssentials
import Glibc

/// The nodescripts of active modules, as relative symbolic links in `<state>/nodescripts/STATE/LEVEL`: what runs
/// where can be seen there, and an administrator's own file lies beside them.
struct ModuleLinks {
  let nodescripts: String

  /// The path of a script's link, and what it points to.
  func links(of module: Module, at role: ModuleRole) -> [(path: String, target: String)] {
    let depth = role.description.split(separator: "/").count + 1
    let up = String(repeating: "../", count: depth)
    return module.scripts(in: role.state).map { script in
      ("\(nodescripts)/\(role)/\(script.file)", "\(up)modules/\(module.name)/\(script.path)")
    }
  }

  /// The module that a path in the tree is a link into.
  static func module(of path: String) -> String? {
    guard let target = try? FileManager.default.destinationOfSymbolicLink(atPath: path) else { return nil }
    let parts = target.split(separator: "/").drop { $0 == ".." }.map(String.init)
    return target.hasPrefix("../") && parts.count >= 4 && parts[0] == "modules" && parts[2] == "nodescripts"
      ? parts[1] : nil
  }

  /// Files of the administrator's own at a role whose base name is that of a script of the module's.
  func inTheWay(of module: Module, at role: ModuleRole) -> [String] {
    let names = Set(module.scripts(in: role.state).map(\.name))
    let directory = "\(nodescripts)/\(role)"
    let files = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
    return files.sorted().map { "\(directory)/\($0)" }.filter { path in
      let file = path.split(separator: "/").last.map(String.init) ?? ""
      guard let (name, _) = NodescriptName.parse(file), names.contains(name) else { return false }
      return Self.module(of: path) == nil
    }
  }

  /// Makes the links what they are to be: those that are missing are made, those of modules no longer active removed.
  func set(_ wanted: [String: String]) throws {
    for path in found() where wanted[path] == nil { unlink(path) }
    for (path, target) in wanted where (try? FileManager.default.destinationOfSymbolicLink(atPath: path)) != target {
      let directory = path.split(separator: "/").dropLast().joined(separator: "/")
      do {
        try FileManager.default.createDirectory(atPath: "/" + directory, withIntermediateDirectories: true)
      } catch {
        throw ApplianceError(
          .failed, "The directory /\(directory) cannot be made: \(error). Remove what is in its way.")
      }
      try ModuleStore.link(path, to: target)
    }
  }

  /// Every link into a module.
  private func found() -> [String] {
    func names(_ path: String) -> [String] {
      ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).map { path + "/" + $0 }
    }
    let states = names(nodescripts)
    let all = states.flatMap { names($0 + "/all") }
    let named = ["vnfs", "group", "node"].flatMap { kind in states.flatMap { names($0 + "/" + kind) }.flatMap(names) }
    return (all + named).filter { Self.module(of: $0) != nil }
  }
}
