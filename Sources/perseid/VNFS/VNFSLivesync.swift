import ArgumentParser
import Capsule
import CapsuleFormat
import Provisioner

/// `perseid vnfs livesync NAME [NODES...]`: what differs is put together here, beside a running appliance; the nodes take
/// it when they report next.
struct VNFSLivesync: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "livesync", abstract: "Let running nodes take over a capsule's new generation, without a reboot.",
    discussion: """
      Files that differ between the generation that a node runs and this one are replaced and removed there, then the \
      capsule's hook `livesync` runs on the node. A new kernel comes with the next boot. Nodes take it when they report \
      next; what is away for a moment takes it later.
      """)

  @Argument(help: "The capsule, or one of its generations: debian-12, debian-12:3.")
  var capsule: CapsuleReference

  @Argument(help: "The nodes (default: all that run the capsule).", completion: Names.nodes)
  var nodes: [String] = []

  @Option(name: .long, help: "Seconds to wait for the nodes.")
  var timeout = 1800

  @Flag(name: .long, help: "Give the order, and do not wait for the nodes.")
  var noWait = false

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  private var path: [String] { ["vnfs", capsule.name, "livesync"] }

  func validate() throws {
    guard (1...86400).contains(timeout) else { throw ValidationError("--timeout is from 1 to 86400 seconds.") }
  }

  func run() async throws {
    let store = try ContentStore(directory: try common.configuration().paths.state)
    var hold: StoreHold? = try store.hold()
    defer { withExtendedLifetime(hold) {} }
    let (target, before) = try await Access.with(common) { access in
      (try await capsule.resolve(access), try await running(access))
    }
    guard !before.isEmpty else {
      throw ApplianceError(
        .refused, "None of these nodes runs the capsule \(capsule.name): perseid node status shows what they do.")
    }
    let behind = before.filter { $0.digest != target.digest.description }
    guard !behind.isEmpty else {
      printError("All \(before.count) nodes are at \(target.words) already.")
      return try show(output.json ? try JSONText.of(before) : "")
    }
    let changes = try await interruptible { [behind] in try await make(behind, target, store) }
    let request = try AdminRequest(
      .post, path,
      json: OrderLivesync(nodes: behind.map(\.name), generation: target.generation, changes: changes))
    let ordered: [LivesyncView] = try await Access.with(common) { try await $0.get(request) }
    // The order keeps the blobs from now on.
    hold = nil
    let names = Set(ordered.filter { $0.target == target.generation && $0.state != .running }.map(\.name))
    for node in behind where !names.contains(node.name) {
      printError("\(node.name) has booted another generation meanwhile: run this again for it.")
    }
    printError("\(names.count) nodes are to come to \(target.words).")
    if noWait { return try show(output.json ? try JSONText.of(ordered) : "") }
    let last: [LivesyncView]
    do {
      last = try await interruptible { try await follow(names) }
    } catch is CancellationError {
      printError("Not waiting any more. The order stays: nodes take it when they report next.")
      throw ExitCode.failure
    }
    try show(output.json ? try JSONText.of(last) : "")
    let failed = last.count { $0.state != .done } + behind.count - names.count
    guard failed == 0 else { throw ExitCode.failure }
  }

  private func running(_ access: Access) async throws -> [LivesyncView] {
    try await access.get(AdminRequest(.get, path, query: AdminRequest.nodes(nodes)))
  }

  /// What nodes of each generation take over.
  private func make(
    _ nodes: [LivesyncView], _ target: ResolvedCapsule, _ store: ContentStore
  ) async throws -> [OrderLivesync.Change] {
    let progress = ImportProgress()
    defer { progress.finish() }
    var changes: [OrderLivesync.Change] = []
    for text in Set(nodes.map(\.digest)).sorted() {
      guard let digest = Digest(text) else { continue }
      let change = try await LivesyncChange.make(from: digest, to: target.digest, in: store) { progress.report($0) }
      let (old, new) = change.kernels
      let note = old == new ? nil : "kernel \(new) comes with the next boot"
      progress.finish()
      printError(
        "\(change.written) to write, \(change.removed) to remove, \(Quantity.bytes(change.blob.size))"
          + (note.map { "; \($0)" } ?? ""))
      changes.append(
        OrderLivesync.Change(
          from: digest, blob: change.blob, hook: change.hook, hookSeconds: change.hookSeconds, note: note))
    }
    return changes
  }

  /// Says of each node what became of it, until that is known of all, or the time is over.
  private func follow(_ names: Set<String>) async throws -> [LivesyncView] {
    let deadline = ContinuousClock.now + .seconds(timeout)
    var told: Set<String> = []
    while true {
      let views = try await Access.with(common) { try await running($0) }.filter { names.contains($0.name) }
      for view in views where (view.state == .done || view.state == .failed) && told.insert(view.name).inserted {
        printError("\(view.name) \(view.state.rawValue)\(view.detail.map { ": \($0)" } ?? "")")
      }
      if told.count == names.count { return views }
      guard ContinuousClock.now < deadline else {
        let rest = names.subtracting(told).sorted()
        printError(
          "Not heard of within \(timeout) s: \(rest.prefix(20).joined(separator: ", "))"
            + (rest.count > 20 ? " and \(rest.count - 20) more" : "")
            + ". They take it when they report next; perseid node status shows what they do.")
        return views
      }
      try await Task.sleep(for: .seconds(1))
    }
  }
}
