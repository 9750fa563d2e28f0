/// Programs of a capsule's own that the appliance runs inside its tree.
package enum CapsuleHooks {
  /// Runs a hook of a tree in the tree, on threads of its own. Where the task is cancelled, or its time is over, it and
  /// all that it started are asked to end, and killed where they do not.
  ///
  /// - Parameters:
  ///   - patience: Seconds from the request to end until they are killed.
  ///   - title: What the tree is made of, for people, where it is a scratch directory.
  ///   - remedy: What to do where it fails; `nil` where the tree stays, and can be changed.
  /// - Returns: Whether there is one.
  /// - Throws: `CapsuleError` with code `tool` where it ends with another exit code than 0, or takes longer than the
  ///   capsule's `hookSeconds`; `CancellationError` once nothing of it is left.
  @discardableResult
  package static func run(
    _ hook: CapsuleSettings.Hook, in directory: String, environment: [String: String], patience: Int = 10,
    title: String? = nil, remedy: String? = nil
  ) async throws -> Bool {
    try await withTaskExecutorPreference(BuildExecutor()) {
      let tree = try DirectoryScanner.scan(directory, title: title) { _ in }
      let settings = try CapsuleSettings(tree)
      let path = settings.path(of: hook)
      guard tree.file(path) != nil else { return false }
      let room = TreeRoom(directory: directory, patience: patience)
      let status = try await room.run(
        ["/\(path)"], isInteractive: false, environment: environment, timeLimit: settings.hookSeconds)
      let capsule = environment["VNFS"].map { " of the capsule \($0)" } ?? " of the capsule"
      guard let status else {
        throw CapsuleError(
          .tool,
          "The hook \(hook.rawValue)\(capsule), /\(path), ran longer than \(settings.hookSeconds) seconds, and was ended",
          remedy: "Its messages are above. See what it waits for, or give it more time with hookSeconds in "
            + "/\(CapsuleSettings.path) of the tree; " + (remedy ?? "the tree is \(directory)"))
      }
      guard status == 0 else {
        throw CapsuleError(
          .tool, "The hook \(hook.rawValue)\(capsule), /\(path), ended with exit code \(status)",
          remedy: "Its messages are above; " + (remedy ?? "change it in \(directory)/\(path)"))
      }
      return true
    }
  }

  /// Runs the hook `configure` of a tree that is about to be packed and is gone then.
  ///
  /// - Parameters:
  ///   - name: The capsule's; `nil` where the tree itself says it.
  ///   - title: What the tree is made of, for people.
  static func configure(_ directory: String, name: String?, title: String) async throws {
    var environment: [String: String] = [:]
    if let name { environment["VNFS"] = name }
    try await run(
      .configure, in: directory, environment: environment, title: title,
      remedy: "nothing was kept. Change the hook where the capsule comes from, or in perseid vnfs mount NAME")
  }
}
