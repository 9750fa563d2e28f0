import Capsule
import CapsuleFormat
package import NetworkTypes
package import StateProtocol

/// Makes the plan for a node in a state, from what is there at this moment.
package struct PlanMaker: Sendable {
  private let tree: NodescriptTree
  private let modules: ModuleStore
  private let files: PlanFiles
  private let runner: ServerScript
  private let rendered: RenderedContent
  private let catalog: CapsuleCatalog
  private let settings: Configuration.States

  package static let rootStep = "50-root"

  package init(
    tree: NodescriptTree, modules: ModuleStore, files: PlanFiles, rendered: RenderedContent, catalog: CapsuleCatalog,
    settings: Configuration.States
  ) {
    self.tree = tree
    self.modules = modules
    self.files = files
    self.rendered = rendered
    self.catalog = catalog
    self.settings = settings
    runner = ServerScript(timeLimit: settings.scriptSeconds)
  }

  /// Who asks, and in which boot.
  package struct Subject: Hashable, Sendable {
    package var state: String
    package var node: EffectiveNode
    package var boot: Boot?
    package var address: IPv4Address
    package var server: IPv4Address
    /// The number of the generation that the node took over since it booted; `nil` where it runs what it booted.
    package var synchronised: Int?

    package init(state: String, node: EffectiveNode, boot: Boot?, address: IPv4Address, server: IPv4Address) {
      self.state = state
      self.node = node
      self.boot = boot
      self.address = address
      self.server = server
    }

    /// The capsule of the boot under way: what is assigned since then is for the next boot.
    package var vnfs: String { boot?.vnfs ?? node.vnfs }
  }

  /// - Throws: `ApplianceError` where a script cannot be delivered or the capsule is not whole.
  package func plan(for subject: Subject) async throws -> Plan {
    // A plan has a module as it was or as it is, never some of both: one made while modules change is made again.
    for _ in 0..<100 {
      let epoch = await modules.settled()
      let made: Result<Plan, any Error>
      do {
        made = .success(try await planNow(for: subject))
      } catch {
        made = .failure(error)
      }
      if modules.epoch == epoch { return try made.get() }
    }
    throw ApplianceError(.refused, "Modules change again and again at this moment. The node asks again.")
  }

  private func planNow(for subject: Subject) async throws -> Plan {
    let levels = NodescriptTree.levels(vnfs: subject.vnfs, groups: subject.node.groups, node: subject.node.name)
    let active = files.active(state: subject.state, levels: levels)
    let variables = try files.variables(of: subject.node, active)
    var environment = Self.environment(subject, variables.texts)
    environment["ASSIGNED"] = files.assigned(to: subject.node)
    let scripts = try tree.scripts(
      state: subject.state, vnfs: subject.vnfs, groups: subject.node.groups, node: subject.node.name,
      capsule: try subject.boot?.digest.map { try catalog.nodescripts(of: $0, state: subject.state) } ?? [:])
    var steps: [Step] = []
    for script in scripts {
      steps.append(try await step(script, environment))
    }
    steps += try files.steps(for: subject, active, variables) { content in
      (try rendered.add(content), Int64(content.count))
    }
    steps.sort { $0.name < $1.name }
    if subject.state == "init", !steps.contains(where: { $0.name == Self.rootStep }), let digest = subject.boot?.digest
    {
      steps.append(try rootStep(digest, of: subject))
      steps.sort { $0.name < $1.name }
    }
    return Plan(
      state: subject.state, boot: subject.boot?.id, nodeName: subject.node.name, environment: environment, steps: steps,
      nextState: settings.next(after: subject.state), intervalSeconds: settings.interval(of: subject.state),
      nextSeconds: settings.pause(in: subject.state))
  }

  /// What scripts find in their environment: the names are Perceus's; a node's variables have names of their own.
  /// - Parameter variables: The node's, with the defaults of modules.
  package static func environment(_ subject: Subject, _ variables: [String: String]? = nil) -> [String: String] {
    let node = subject.node
    var environment = (variables ?? node.vars).filter { !NodeKeys.reservedVariables.contains($0.key) }
    environment["STATE"] = subject.state
    environment["NODENAME"] = node.name
    environment["NODEID"] = (subject.boot?.mac ?? node.node.macs.first)?.description ?? ""
    environment["GROUPNAME"] = node.group
    environment["GROUPNAMES"] = node.groups.joined(separator: " ")
    environment["VNFS"] = subject.vnfs
    environment["ENABLED"] = node.enabled ? "1" : "0"
    environment["DEBUG"] = node.debug ? "1" : "0"
    environment["IPADDR"] = subject.address.description
    environment["MASTER"] = subject.server.description
    environment["VNFSMASTER"] = subject.server.description
    environment["BOOT"] = subject.boot?.id ?? ""
    environment["GENERATION"] = (subject.synchronised ?? subject.boot?.generation).map(String.init) ?? ""
    return environment
  }

  private func step(_ script: Nodescript, _ environment: [String: String]) async throws -> Step {
    var content = try tree.read(script)
    let policy = try ScriptPolicy(of: content, name: script.path)
    if script.isServer { content = try await runner.run(script, content: content, environment: environment) }
    return Step(
      name: script.name, kind: .script, level: script.level, length: Int64(content.count),
      digest: try rendered.add(content), onFailure: policy.onFailure, retries: policy.retries,
      timeoutSeconds: policy.timeoutSeconds)
  }

  private func rootStep(_ digest: Digest, of subject: Subject) throws -> Step {
    let files = try catalog.files(of: digest)
    let mode = subject.node.root ?? files.rootModes.first ?? .ram
    let image = files.rootImage.flatMap { catalog.content.contains($0.digest) ? $0 : nil }
    // Capsules that name no modes can be had in each; the image is all that one mode needs besides.
    guard mode == .ram || image != nil, files.config.rootModes == nil || files.rootModes.contains(mode) else {
      throw ApplianceError(
        .refused,
        "Node \(subject.node.name) is to have its root in mode \(mode.rawValue), and the capsule \(subject.vnfs) "
          + (files.config.rootModes != nil && !files.rootModes.contains(mode)
            ? "is made for \(files.rootModes.map(\.rawValue).joined(separator: ", ")) alone."
            : "has no erofs image for it: import it again.")
          + " Or set another mode: perseid node set root \((files.rootModes.first ?? .ram).rawValue) "
          + "\(subject.node.name)")
    }
    return Step(
      name: Self.rootStep, kind: .root, level: "built-in", length: files.frameIndex.size,
      digest: files.frameIndex.digest, onFailure: .retry,
      root: Step.Root(
        mode: mode.rawValue, generation: digest, blob: files.root, image: image, bytes: files.config.rootBytes,
        entries: files.config.rootEntries))
  }
}
