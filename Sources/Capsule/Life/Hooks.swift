/// Programs of a capsule's own that the appliance runs inside its tree.
package enum CapsuleHooks {
  /// Runs a hook of a tree in the tree.
  ///
  /// - Returns: Whether there is one.
  /// - Throws: `CapsuleError` with code `tool` where it ends with another exit code than 0.
  @discardableResult
  package static func run(
    _ hook: CapsuleSettings.Hook, in directory: String, environment: [String: String]
  ) throws -> Bool {
    let tree = try DirectoryScanner.scan(directory) { _ in }
    let settings = try CapsuleSettings(tree)
    let path = settings.hooks[hook] ?? "\(CapsuleSettings.directory)/hooks/\(hook.rawValue)"
    guard tree.file(path) != nil else { return false }
    let status = try TreeRoom(directory: directory)
      .run(["/\(path)"], isInteractive: false, environment: environment)
    guard status == 0 else {
      throw CapsuleError(
        .tool, "The capsule's own hook /\(path) ended with exit code \(status)",
        remedy: "Its messages are above; change it in \(directory)/\(path)")
    }
    return true
  }
}
