import CLinux
import CapsuleFormat

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Makes a tree after a recipe, and a capsule of it.
///
/// The tree is made in a scratch directory of the store, which is gone afterwards however the build ends. Whatever is
/// mounted for a step is mounted in a name space of that step's own, so that nothing of it outlives the step.
package struct RecipeBuilder: Sendable {
  private let store: ContentStore

  package init(store: ContentStore) {
    self.store = store
  }

  /// - Parameters:
  ///   - recipe: What to make.
  ///   - request: How to make a capsule of it; its source is set here.
  /// - Throws: `CapsuleError`, or `CancellationError`.
  package func build(
    _ recipe: Recipe, _ request: BuildRequest, progress: @escaping ProgressHandler = { _ in }
  ) async throws -> StoredCapsule {
    guard geteuid() == 0 else {
      throw CapsuleError(
        .tool, "A tree can be made only by root: its files belong to many users, and commands run in a chroot of it",
        remedy: "Run the build as root, or as root of a user name space with many users: "
          + "unshare --map-auto --map-root-user --mount perseid vnfs build ...")
    }
    let scratch = try ScratchDirectory(in: store.temporaryDirectory)
    let name = request.name ?? recipe.name
    try await withTaskExecutorPreference(BuildExecutor()) {
      let node = try readFile(request.nodeExecutable, limit: 128 << 20)
      try TreeMaker(
        recipe: recipe, root: scratch.path + "/root", scratch: scratch, limits: request.limits,
        architecture: ModuleInfo.machine(ofELF: node) == 183 ? "arm64" : "amd64", progress: progress
      ).make()
      try Task.checkCancellation()
    }
    var request = request
    request.source = scratch.path + "/root"
    request.title = recipe.title
    request.name = name
    defer { withExtendedLifetime(scratch) {} }
    do {
      try await CapsuleHooks.configure(request.source, name: name, title: recipe.title)
      try Task.checkCancellation()
      return try await CapsuleBuilder(store: store).build(request, progress: progress)
    } catch let error as CapsuleError {
      throw Self.inRecipe(error)
    }
  }

  /// What the tree lacks can be changed in the recipe alone.
  private static func inRecipe(_ error: CapsuleError) -> CapsuleError {
    var error = error
    switch error.code {
    case .noKernel:
      error.remedy =
        "Name a kernel package under packages in the recipe (on Debian linux-image-amd64), and build it again"
    case .noModules, .badSettings, .unreadable:
      error.remedy += ". Each build makes the tree anew: have the recipe's packages, files or commands do that"
    default: break
    }
    return error
  }
}
