import CapsuleFormat

/// Makes a capsule again of what it is now, with this appliance's stage 1 and a new initramfs.
///
/// All of it happens in a scratch directory of the store, which is gone afterwards however it ends.
package struct CapsuleRebuilder: Sendable {
  private let store: ContentStore

  package init(store: ContentStore) {
    self.store = store
  }

  /// Unpacks a capsule, lets its own hook `configure` set up the tree, and packs that. Without a hook, and with the same
  /// executables, the result is the capsule itself.
  ///
  /// - Parameter request: How to make a capsule of it; its source is set here.
  /// - Throws: `CapsuleError`, or `CancellationError`; nothing is kept then.
  package func rebuild(
    _ capsule: StoredCapsule, _ request: BuildRequest, progress: @escaping ProgressHandler = { _ in }
  ) async throws -> StoredCapsule {
    let scratch = try ScratchDirectory(in: store.temporaryDirectory)
    defer { withExtendedLifetime(scratch) {} }
    var request = request
    request.source = scratch.path + "/root"
    let title = "the capsule \(capsule.config.name)"
    request.title = title
    let root = request.source
    let name = request.name ?? capsule.config.name
    try await withTaskExecutorPreference(BuildExecutor()) {
      progress(BuildProgress(phase: .unpacking, completedBytes: 0, totalBytes: nil))
      do throws(CapsuleError) {
        try Unpacker.unpack(capsule, from: store, into: root)
      } catch {
        // tar ends by the same Ctrl-C, which is no fault of the capsule's.
        try Task.checkCancellation()
        throw error
      }
      try Task.checkCancellation()
      try await CapsuleHooks.configure(root, name: name, title: title)
      try Task.checkCancellation()
    }
    do {
      return try await CapsuleBuilder(store: store).build(request, progress: progress)
    } catch var error as CapsuleError where [.noKernel, .noModules, .badSettings, .unreadable].contains(error.code) {
      error.remedy = "Change that in its tree (perseid vnfs mount \(name)), or in its hook configure"
      throw error
    }
  }
}

extension StoredCapsule {
  /// The recipe that the capsule was made after.
  ///
  /// - Parameter directory: Where relative paths in it begin: the recipe's own directory is not kept.
  /// - Returns: `nil` where it was made of something else.
  /// - Throws: `CapsuleError`, `ConfigurationError`.
  package func recipe(from store: ContentStore, directory: String) throws -> Recipe? {
    guard let path = TreePath("recipe.yaml"), let file = try tools(from: store).files[path] else { return nil }
    var recipe = try Recipe.parse(
      yaml: String(decoding: file.content, as: UTF8.self), file: "\(directory)/recipe.yaml")
    recipe.title = "the recipe that the capsule \(config.name) keeps"
    return recipe
  }
}
