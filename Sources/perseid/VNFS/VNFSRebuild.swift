import ArgumentParser
import Capsule
import FoundationEssentials
import Provisioner

/// `perseid vnfs rebuild NAME [--recipe]`: made here, beside a running appliance.
struct VNFSRebuild: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rebuild", abstract: "Make the next generation of what a capsule is now.",
    discussion: """
      Its hook `configure` runs in its tree; stage 1 and initramfs are made new, with the appliance's own programs. \
      With --recipe the recipe that the capsule keeps is run again instead, which gives newer packages, say. \
      It needs root.
      """)

  @Argument(help: "The capsule, or one of its generations: debian-12, debian-12:3.")
  var capsule: CapsuleReference

  @Flag(name: .long, help: "Run the capsule's recipe again; relative paths in it begin at the current directory.")
  var recipe = false

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  func run() async throws {
    let work = try MountWork(capsule.name, common)
    let store = work.store
    let hold = try store.hold()
    defer { withExtendedLifetime(hold) {} }
    let lock = try work.mounts.lock(capsule.name)
    defer { withExtendedLifetime(lock) {} }
    guard work.mounts.record(of: capsule.name) == nil else {
      throw ApplianceError(
        .refused,
        "The capsule \(capsule.name) is mounted, and what was changed there would not be in a rebuild. Make a "
          + "generation of it (perseid vnfs umount \(capsule.name)), or throw it away (perseid vnfs close "
          + "\(capsule.name)).")
    }
    let start = ContinuousClock.now
    let target = try await Access.with(common) { [capsule] in try await capsule.resolve($0) }
    let stored = try StoredCapsule.load(target.digest, from: store)
    let kept = recipe ? try self.kept(by: stored, target, store) : nil
    let request = BuildRequest(
      source: "", name: capsule.name, nodeExecutable: try Companions.nodeExecutable(),
      busybox: try Companions.busybox())
    let progress = ImportProgress()
    let made: StoredCapsule
    do {
      defer { progress.finish() }
      made = try await interruptible {
        if let kept {
          try await RecipeBuilder(store: store).build(kept, request) { progress.report($0) }
        } else {
          try await CapsuleRebuilder(store: store).rebuild(stored, request) { progress.report($0) }
        }
      }
    }
    if made.digest == target.digest { printError("It is the same as \(target.words), to the last byte.") }
    try await VNFSImport.register(
      made, capsule.name, common, output,
      origin: "rebuild of generation \(target.generation)" + (kept == nil ? "" : " by its recipe"), since: start)
  }

  private func kept(by stored: StoredCapsule, _ target: ResolvedCapsule, _ store: ContentStore) throws -> Recipe {
    let here = FileManager.default.currentDirectoryPath
    guard let recipe = try stored.recipe(from: store, directory: here) else {
      throw ApplianceError(
        .refused,
        "\(target.words), has no recipe: it was not made by 'perseid vnfs build'. Without --recipe it is made again of "
          + "what it is.")
    }
    return recipe
  }
}
