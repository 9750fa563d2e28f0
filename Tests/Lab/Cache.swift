import Foundation

/// What is made once and kept for the next run.
package enum Cache {
  /// $PERSEID_CACHE, or .build/lab in the working directory.
  package static var directory: String {
    ProcessInfo.processInfo.environment["PERSEID_CACHE"] ?? FileManager.default.currentDirectoryPath + "/.build/lab"
  }

  /// The root file system of a small Debian as a tar archive, made by Tests/Lab/debian-tree beforehand:
  /// inside the private namespaces no mirror can be reached.
  package static func debianTree(_ suite: String) throws -> String {
    if suite == "services" { return try serviceTree() }
    return try tree(suite, madeWith: "debian-tree \(suite) \(directory)/\(suite).tar")
  }

  /// Debian 12 with what the modules set up, made by Tests/Lab/service-tree.
  private static func serviceTree() throws -> String {
    try tree("services", madeWith: "service-tree \(directory)/services.tar \(directory)/bookworm.tar")
  }

  /// A small root file system with another init than systemd, made by Tests/Lab/init-tree.
  package static func initTree(_ name: String) throws -> String {
    try tree(name, madeWith: "init-tree \(name) \(directory)/\(name).tar \(directory)/bookworm.tar")
  }

  private static func tree(_ name: String, madeWith command: String) throws -> String {
    let path = "\(directory)/\(name).tar"
    guard FileManager.default.fileExists(atPath: path) else {
      throw LabError("\(path) is missing: make it with `Tests/Lab/\(command)`")
    }
    return path
  }
}
