import Capsule
import CapsuleFormat
import Glibc
import Provisioner

/// What the verbs around a mounted capsule do, in this process: beside a running appliance, which only gives the names.
struct MountWork {
  let name: String
  let common: CommonOptions
  let configuration: Configuration
  let store: ContentStore
  let mounts: CapsuleMounts

  init(_ name: String, _ common: CommonOptions) throws {
    self.name = name
    self.common = common
    configuration = try common.configuration()
    store = try ContentStore(directory: configuration.paths.state)
    mounts = CapsuleMounts(directory: configuration.paths.mounts)
    guard CapsuleName.isValid(name) else {
      throw ApplianceError(.invalid, "'\(name)' cannot be the name of a capsule: \(CapsuleName.allowed).")
    }
  }

  var path: String { mounts.path(of: name) }

  /// What hooks find in their environment.
  private var environment: [String: String] { ["VNFS": name] }

  /// Unpacks a generation, and runs the hook `mount` in it.
  func mount(generation: Int?) async throws -> ResolvedCapsule {
    var reference = CapsuleReference(name: name)
    reference.generation = generation
    let hold = try store.hold()
    defer { withExtendedLifetime(hold) {} }
    let target = try await Access.with(common) { [reference] in try await reference.resolve($0) }
    let lock = try mounts.lock(name)
    let progress = ImportProgress()
    do {
      defer { progress.finish() }
      try await interruptible { [self] in
        progress.report(BuildProgress(phase: .unpacking, completedBytes: 0, totalBytes: nil))
        do {
          try mounts.mount(
            StoredCapsule.load(target.digest, from: store), name: name, generation: target.generation, from: store)
        } catch {
          // tar ends by the same Ctrl-C, which is no fault of the capsule's.
          try Task.checkCancellation()
          throw error
        }
      }
    }
    defer { withExtendedLifetime(lock) {} }
    do {
      try await run(.mount)
    } catch let error as CancellationError {
      // Nobody has changed anything in it yet.
      try mounts.remove(name)
      throw error
    }
    return target
  }

  /// Packs the tree as the next generation, and removes it; where that cannot be done, it stays as it is.
  func umount() async throws -> CapsuleView {
    let lock = try mounts.lock(name)
    defer { withExtendedLifetime(lock) {} }
    let record = try mounts.mounted(name)
    let hold = try store.hold()
    defer { withExtendedLifetime(hold) {} }
    try await run(.umount)
    TreeRoom.takeBackNames(in: path)
    let request = BuildRequest(
      source: path, name: name, nodeExecutable: try Companions.nodeExecutable(), busybox: try Companions.busybox())
    let progress = ImportProgress()
    let capsule: StoredCapsule
    do {
      defer { progress.finish() }
      do {
        capsule = try await interruptible { [store] in
          try await CapsuleBuilder(store: store).build(request) { progress.report($0) }
        }
      } catch let error as CapsuleError {
        throw ApplianceError(.failed, "\(error) What was changed is kept in \(path).")
      }
    }
    guard try capsule.contents(in: store) != record.contents else {
      throw ApplianceError(
        .refused,
        "Nothing is changed in \(path): there is no new generation to make. "
          + "Change something, or close it: perseid vnfs close \(name).")
    }
    let registration = try AdminRequest(
      .post, ["vnfs"],
      json: RegisterCapsule(
        name: name, digest: capsule.digest, origin: "change of generation \(record.generation)"))
    let view: CapsuleView = try await Access.with(common) { try await $0.get(registration) }
    try mounts.remove(name)
    return view
  }

  /// Removes the tree with all changes.
  func close() async throws {
    let lock = try mounts.lock(name)
    defer { withExtendedLifetime(lock) {} }
    if mounts.record(of: name)?.phase == .mounted {
      do {
        try await run(.close)
      } catch let error as CapsuleError {
        // What is thrown away need not be in order.
        printError("perseid: \(error)")
      }
    }
    try mounts.remove(name)
  }

  /// Runs a hook, which Ctrl-C ends.
  private func run(_ hook: CapsuleSettings.Hook) async throws {
    try await interruptible { [path, environment] in
      _ = try await CapsuleHooks.run(hook, in: path, environment: environment)
    }
  }

  /// Runs a program in the mounted tree; a shell where there is none. It ends where this process is asked to.
  /// - Returns: Its exit code.
  func run(_ command: [String]) async throws -> Int32 {
    let lock = try mounts.lock(name, isShared: true)
    defer { withExtendedLifetime(lock) {} }
    _ = try mounts.mounted(name)
    // Ctrl-C is for what runs inside.
    let listener = Interrupts.shared.listen(to: [SIGINT, SIGQUIT]) {}
    defer { withExtendedLifetime(listener) {} }
    return try await interruptible(by: [SIGTERM]) { [path, environment] in
      try await TreeRoom(directory: path)
        .run(command, isInteractive: true, environment: environment, timeLimit: nil) ?? 1
    }
  }
}
