/// Programs of a capsule's own that the appliance runs inside its tree.
package enum CapsuleHooks {
  /// Runs a hook of a tree in the tree.
  ///
  /// - Parameter remedy: What to do where it fails; `nil` where the tree stays, and can be changed.
  /// - Returns: Whether there is one.
  /// - Throws: `CapsuleError` with code `tool` where it ends with another exit code than 0.
  @discardableResult
  package static func run(
    _ hook: CapsuleSettings.Hook, in directory: String, environment: [String: String], remedy: String? = nil
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
        remedy: "Its messages are above; " + (remedy ?? "change it in \(directory)/\(path)"))
    }
    return true
  }

  /// Runs the hook `configure` of a tree that is about to be packed and is gone then.
  ///
  /// - Parameter name: The capsule's; `nil` where the tree itself says it.
  static func configure(_ directory: String, name: String?) throws {
    var environment: [String: String] = [:]
    if let name { environment["VNFS"] = name }
    try run(
      .configure, in: directory, environment: environment,
      remedy: "nothing was kept. Change the hook where the capsule comes from, or in perseid vnfs mount NAME")
  }
}
