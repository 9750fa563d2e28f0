import Capsule
import CapsuleFormat

extension Appliance {
  /// The nodes that run a capsule, and what became of what they were ordered to take over.
  ///
  /// - Parameter patterns: Of these; of all where there is none.
  package func livesync(_ name: String, nodes patterns: [String]) throws -> [LivesyncView] {
    _ = try capsule(name)
    return try select(patterns).compactMap { view(of: $0, running: name) }
  }

  private func view(of node: EffectiveNode, running name: String) -> LivesyncView? {
    guard let digest = running(node.name, name) else { return nil }
    let (order, record) = registry.read { ($0.livesyncs[node.name], $0.capsules[name]) }
    func number(_ digest: CapsuleFormat.Digest) -> Int? {
      record?.generations.last { $0.digest == digest }?.number
    }
    var view = LivesyncView(
      name: node.name, state: .running, digest: digest.description, generation: number(digest), target: nil,
      detail: nil, lastContact: board.status(of: node.name)?.lastContact)
    guard let order, order.vnfs == name else { return view }
    view.target = order.generation
    view.detail = order.detail
    view.state =
      switch order.outcome {
      case .done: .done
      case .failed: .failed
      case nil: .ordered
      }
    return view
  }

  /// What a running node's root is now: the generation that it booted, or took over; `nil` where it does not run, or
  /// another capsule.
  private func running(_ node: String, _ vnfs: String) -> CapsuleFormat.Digest? {
    guard let boot = registry.read({ $0.lastBoot(of: node) }), boot.vnfs == vnfs,
      let status = board.status(of: node), status.boot == boot.id, status.state != "init"
    else { return nil }
    return status.generation.flatMap { CapsuleFormat.Digest($0) } ?? boot.digest
  }

  /// Orders running nodes to take over what is different in a generation of their capsule. Those that run another one
  /// than there are changes for are left as they are.
  ///
  /// - Returns: Every one of the nodes that runs the capsule.
  package func orderLivesync(_ name: String, _ order: OrderLivesync, now: Timestamp = .now) async throws
    -> [LivesyncView]
  {
    for change in order.changes where (try? content.size(of: change.blob.digest)) != change.blob.size {
      throw ApplianceError(
        .refused, "The blob \(change.blob.digest) is not in the content store. Run perseid vnfs livesync again.")
    }
    let nodes = try select(order.nodes)
    let who = Changer.name
    let running = nodes.compactMap { node in self.running(node.name, name).map { (node.name, $0) } }
    try await registry.update { view in
      guard let record = view.capsules[name] else { throw Self.noCapsule(name, in: view) }
      guard let generation = record.generations.first(where: { $0.number == order.generation }) else {
        throw ApplianceError(.notFound, "There is no generation \(order.generation) of \(name).")
      }
      var changes: [Change] = []
      var made: [RegistryView.Made] = []
      for (node, digest) in running where digest != generation.digest {
        guard let change = order.changes.first(where: { $0.from == digest }) else { continue }
        changes.append(
          try .put(
            RecordKey.livesync + node,
            LivesyncOrder(
              vnfs: name, ordered: now, from: digest, digest: generation.digest, generation: generation.number,
              blob: change.blob, hook: change.hook, hookSeconds: min(max(change.hookSeconds, 1), 86400),
              note: change.note.map { printable($0, 300) })))
        made.append(
          RegistryView.Made(what: "node \(node)", action: "livesync", after: "\(name):\(generation.number)"))
      }
      changes += try view.records(of: made, by: who, at: now)
      return (changes, ())
    }
    return nodes.compactMap { view(of: $0, running: name) }
  }
}
