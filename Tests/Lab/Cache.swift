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
    let path = "\(directory)/\(suite).tar"
    guard FileManager.default.fileExists(atPath: path) else {
      throw LabError("\(path) is missing: make it with `Tests/Lab/debian-tree \(suite) \(path)`")
    }
    return path
  }
}
