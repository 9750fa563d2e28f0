import FoundationEssentials
import Glibc
import Provisioner

/// Programs that go into a capsule besides the tree.
enum Companions {
  /// The static executable that is stage 1, and the client in the running node.
  /// - Throws: `ApplianceError` naming the places that were looked at.
  static func nodeExecutable() throws -> String {
    var places: [String] = []
    if let path = environment("PERSEID_NODE") { places.append(path) }
    if let own = ownPath(), let slash = own.lastIndex(of: "/") { places.append(own[..<slash] + "/perseid-node") }
    // Installed below another prefix than /usr.
    if let path = ownPath()?.split(separator: "/").dropLast(2) {
      places.append("/" + (path + ["lib", "perseid", "perseid-node"]).joined(separator: "/"))
    }
    if !places.contains("/usr/lib/perseid/perseid-node") { places.append("/usr/lib/perseid/perseid-node") }
    guard let found = places.first(where: { access($0, R_OK) == 0 }) else {
      throw ApplianceError(
        .failed,
        "perseid-node, which every capsule needs, is in none of these places: \(places.joined(separator: ", ")). "
          + "Install it there, or set PERSEID_NODE to its path.")
    }
    return found
  }

  /// Where the modules are that come with perseid, the first place that has one first.
  static var modules: [String] {
    var places = environment("PERSEID_MODULES").map { [$0] } ?? []
    if let path = ownPath()?.split(separator: "/").dropLast(2) {
      places.append("/" + (path + ["share", "perseid", "modules"]).joined(separator: "/"))
    }
    if !places.contains("/usr/share/perseid/modules") { places.append("/usr/share/perseid/modules") }
    return places
  }

  /// The names of the modules that come with perseid.
  static var moduleNames: [String] {
    for place in modules {
      let names = (try? FileManager.default.contentsOfDirectory(atPath: place)) ?? []
      let found = names.filter { access("\(place)/\($0)/module.yaml", R_OK) == 0 }
      if !found.isEmpty { return found.sorted() }
    }
    return []
  }

  static let busyboxPath = "/bin/busybox"

  /// - Throws: `ApplianceError` naming the package.
  static func busybox() throws -> String {
    guard access(busyboxPath, R_OK) == 0 else {
      throw ApplianceError(
        .failed,
        "\(busyboxPath) is not there. It comes with the package busybox-static: apt-get install busybox-static.")
    }
    return busyboxPath
  }

  private static func ownPath() -> String? {
    var bytes = [UInt8](repeating: 0, count: Int(PATH_MAX))
    let count = bytes.withUnsafeMutableBytes { buffer in
      buffer.withMemoryRebound(to: CChar.self) { path in
        path.baseAddress.map { readlink("/proc/self/exe", $0, path.count) } ?? -1
      }
    }
    return count > 0 ? String(decoding: bytes[..<count], as: UTF8.self) : nil
  }
}
