import Capsule
package import CapsuleFormat
import Dispatch
import Logging

extension Appliance {
  /// Lets another generation boot from now on. Boots under way keep the one they began with.
  ///
  /// - Parameter number: The one before the one that boots now, where `nil`.
  package func rollBackCapsule(_ name: String, to number: Int?) async throws -> CapsuleView {
    _ = try capsule(name)
    try await registry.update { [self] view in
      guard var record = view.capsules[name] else { throw Self.noCapsule(name, in: view) }
      let numbers = record.generations.map(\.number)
      guard let target = number ?? numbers.filter({ $0 < record.current }).max() else {
        throw ApplianceError(
          .refused,
          "There is no generation of \(name) before \(record.current), which boots now. "
            + "perseid vnfs history \(name) shows those there are.")
      }
      let generation = try Self.generation(target, of: record)
      if record.current == target { return ([], ()) }
      // Not what lost its blobs, however that came: the nodes would not boot any more.
      _ = try catalog.files(of: generation.digest)
      record.current = target
      return ([try .put(RecordKey.capsule + name, record)], ())
    }
    return try capsule(name)
  }

  /// Gives a generation of a capsule another name, under which it goes its own way.
  package func cloneCapsule(_ name: String, to clone: String, generation number: Int?) async throws -> CapsuleView {
    guard CapsuleName.isValid(clone) else { throw NodeKeys.invalid("vnfs", clone, CapsuleName.allowed) }
    _ = try capsule(name)
    try await registry.update { view in
      guard let record = view.capsules[name] else { throw Self.noCapsule(name, in: view) }
      guard view.capsules[clone] == nil else {
        throw ApplianceError(
          .conflict,
          "There is a capsule \(clone) already. Choose another name, or delete it: "
            + "perseid vnfs delete \(clone).")
      }
      var generation = try Self.generation(number ?? record.current, of: record)
      generation.origin = "clone of \(name):\(generation.number)"
      generation.number = 1
      generation.registered = .now
      let new = CapsuleRecord(name: clone, current: 1, generations: [generation])
      return ([try .put(RecordKey.capsule + clone, new)], ())
    }
    return try capsule(clone)
  }

  private static func generation(_ number: Int, of record: CapsuleRecord) throws -> CapsuleRecord.Generation {
    guard let generation = record.generations.first(where: { $0.number == number }) else {
      let numbers = record.generations.map { String($0.number) }.joined(separator: ", ")
      throw ApplianceError(
        .notFound, "There is no generation \(number) of \(record.name). There are: \(numbers).")
    }
    return generation
  }

  // MARK: Collection

  /// Forgets generations beyond the newest `capsules.keep` that neither boot from now on nor are in use, and removes
  /// blobs that no capsule and no boot needs.
  package func collect(now: Timestamp = .now) async throws -> CollectionView {
    var view = CollectionView()
    view.generations = try await trimGenerations(now: now)
    let collected = try await withCheckedThrowingContinuation { continuation in
      // Large files take the file system a while; nodes are answered meanwhile.
      DispatchQueue.global(qos: .utility).async { [self] in
        continuation.resume(
          with: Result {
            try content.collect {
              registry.read { view in
                view.digestsInUse(now: now).union(
                  view.capsules.values.lazy.flatMap { $0.generations.lazy.map(\.digest) })
              }
            } blobs: {
              registry.read { view in Set(view.livesyncsUnderWay.map(\.blob.digest)) }
            }
          })
      }
    }
    if let collected {
      view.blobs = collected.blobs
      view.bytes = collected.bytes
    } else {
      view.postponed = true
    }
    catalog.forgetMissing()
    return view
  }

  /// The same, behind what has left something over: its failure is the log's business alone.
  ///
  /// - Parameter trimming: Whether only generations beyond those that are kept can have been left over.
  func collectLeftovers(trimming: Bool) async {
    do {
      if trimming, try await trimGenerations(now: .now).isEmpty { return }
      _ = try await collect()
    } catch {
      logger.error("Unused blobs were not removed: \(error)")
    }
  }

  /// - Returns: `NAME:NUMBER` of each that is gone.
  private func trimGenerations(now: Timestamp) async throws -> [String] {
    let keep = configuration.capsules.keep
    return try await registry.update { view in
      let inUse = view.digestsInUse(now: now)
      var changes: [Change] = []
      var gone: [String] = []
      // Of nodes that are no more.
      for name in view.livesyncs.keys.sorted() where view.nodes[name] == nil {
        changes.append(.delete(RecordKey.livesync + name))
      }
      for var record in view.capsules.values where record.generations.count > keep {
        let newest = Set(record.generations.map(\.number).sorted().suffix(keep))
        record.generations.removeAll { generation in
          let goes =
            !newest.contains(generation.number) && generation.number != record.current
            && !inUse.contains(generation.digest)
          if goes { gone.append("\(record.name):\(generation.number)") }
          return goes
        }
        if record != view.capsules[record.name] { changes.append(try .put(RecordKey.capsule + record.name, record)) }
      }
      return (changes, gone.sorted())
    }
  }
}

extension RegistryView {
  /// Seconds for which the blobs of a boot stay, whatever came after it on the same node: it may be the other card of
  /// a machine, or a machine that is slow.
  private static let bootGrace = 3600.0

  /// The capsules that nodes run, boot, or may still fetch parts of.
  package func digestsInUse(now: Timestamp) -> Set<Digest> {
    var digests = Set(boots.values.lazy.filter { now.seconds(since: $0.bound) < Self.bootGrace }.compactMap(\.digest))
    digests.formUnion(livesyncsUnderWay.flatMap { [$0.from, $0.digest] })
    for name in nodes.keys {
      if let digest = lastBoot(of: name)?.digest { digests.insert(digest) }
      if let digest = statuses[name]?.generation.flatMap({ Digest($0) }) { digests.insert(digest) }
    }
    return digests
  }

  /// What nodes still have to take over.
  var livesyncsUnderWay: [LivesyncOrder] {
    livesyncs.compactMap { name, order in order.outcome == nil && nodes[name] != nil ? order : nil }
  }

  /// How many nodes run each capsule, or boot it right now.
  func runningCounts() -> [Digest: Int] {
    var counts: [Digest: Int] = [:]
    for name in nodes.keys {
      if let digest = lastBoot(of: name)?.digest { counts[digest, default: 0] += 1 }
    }
    return counts
  }
}
