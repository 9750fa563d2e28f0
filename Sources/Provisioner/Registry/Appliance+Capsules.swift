import Capsule
package import CapsuleFormat

extension Appliance {
  private var keyring: Keyring { Keyring(directory: configuration.paths.keys) }

  private var mounts: CapsuleMounts { CapsuleMounts(directory: configuration.paths.mounts) }

  package func capsules() -> [CapsuleView] {
    let defaults = registry.defaults
    let (records, counts, running) = registry.read { view in
      var counts: [String: Int] = [:]
      for node in view.nodes.values { counts[view.effective(node, defaults).vnfs, default: 0] += 1 }
      return (view.capsules.values.sorted { $0.name < $1.name }, counts, view.runningCounts())
    }
    return records.compactMap { view($0, counts[$0.name] ?? 0, running) }
  }

  package func capsule(_ name: String) throws -> CapsuleView {
    guard let capsule = capsules().first(where: { $0.name == name }) else { throw noCapsule(name) }
    return capsule
  }

  func noCapsule(_ name: String) -> ApplianceError { registry.read { Self.noCapsule(name, in: $0) } }

  /// For those who look at the registry already.
  static func noCapsule(_ name: String, in view: borrowing RegistryView) -> ApplianceError {
    let names = view.capsules.keys.sorted().joined(separator: ", ")
    return ApplianceError(
      .notFound,
      "There is no capsule '\(name)'. "
        + (names.isEmpty ? "There is none yet: make one with 'perseid vnfs import'." : "There are: \(names)."))
  }

  private func view(
    _ record: CapsuleRecord, _ nodes: Int, _ running: [CapsuleFormat.Digest: Int]
  ) -> CapsuleView? {
    guard let current = record.currentGeneration else { return nil }
    let mount = mounts.state(of: record.name)
    let keys = record.generations.contains { $0.signatures != nil } ? (try? keyring.entries()) ?? [] : []
    return CapsuleView(
      name: record.name, version: current.version, generation: current.number, digest: current.digest.description,
      kernel: current.kernel, bytes: current.bytes,
      mountPath: mount == nil || mount == .interrupted ? nil : mounts.path(of: record.name),
      mountState: mount?.rawValue, operatingSystem: current.operatingSystem,
      architecture: current.architecture, nodes: nodes, created: current.registered,
      generations: record.generations.map { generation in
        CapsuleView.GenerationView(
          generation: generation.number, version: generation.version, digest: generation.digest.description,
          kernel: generation.kernel, bytes: generation.bytes, created: generation.registered,
          isCurrent: generation.number == record.current, running: running[generation.digest] ?? 0,
          origin: generation.origin,
          signedBy: (generation.signatures ?? []).compactMap { signature in
            keys.first { $0.key.identifier == signature.key }?.name
          }, signatures: generation.signatures ?? [])
      })
  }

  /// Makes a capsule that is in the content store the next generation of a name, which boots from now on.
  /// The digest that is current already stays the generation it is.
  package func registerCapsule(
    _ name: String, digest: CapsuleFormat.Digest, origin: String? = nil
  ) async throws -> CapsuleView {
    guard CapsuleName.isValid(name) else { throw NodeKeys.invalid("vnfs", name, CapsuleName.allowed) }
    _ = try catalog.files(of: digest)
    let (digest, signatures) = try signed(digest)
    let files = try catalog.files(of: digest)
    let now = Timestamp.now
    try await registry.update { view in
      var record = view.capsules[name] ?? CapsuleRecord(name: name, current: 0, generations: [])
      if let index = record.generations.firstIndex(where: { $0.number == record.current && $0.digest == digest }) {
        // The same again; whoever has signed it meanwhile is news.
        let known = record.generations[index].signatures ?? []
        let new = signatures.filter { signature in !known.contains { $0.key == signature.key } }
        if new.isEmpty { return ([], ()) }
        record.generations[index].signatures = known + new
        return ([try .put(RecordKey.capsule + name, record)], ())
      }
      let number = (record.generations.map(\.number).max() ?? 0) + 1
      record.generations.append(
        CapsuleRecord.Generation(
          number: number, digest: digest, registered: now,
          version: files.manifest.annotations?["org.opencontainers.image.version"], kernel: files.config.kernelRelease,
          architecture: files.config.architecture, operatingSystem: files.config.operatingSystem, bytes: files.bytes,
          rootBytes: files.config.rootBytes, origin: origin.map { printable($0, 300) },
          signatures: signatures.isEmpty ? nil : signatures))
      record.current = number
      return ([try .put(RecordKey.capsule + name, record)], ())
    }
    await collectLeftovers(trimming: true)
    return try capsule(name)
  }

  /// What a manifest is without its signatures, and those of them that are of keys which are trusted.
  /// - Throws: `ApplianceError` where a signature is false.
  private func signed(_ digest: CapsuleFormat.Digest) throws -> (CapsuleFormat.Digest, [CapsuleSignature]) {
    let opened: (capsule: CapsuleFormat.Digest, signatures: [CapsuleSignature])
    let trusted: Set<CapsuleFormat.Digest>
    do throws(CapsuleError) {
      opened = try SignedManifest.open(digest, in: content)
      let signers = try SignedManifest.signers(of: opened.capsule, opened.signatures, in: content, trusting: keyring)
      trusted = Set(signers.map(\.key.identifier))
    } catch {
      throw ApplianceError(.refused, error.description)
    }
    return (opened.capsule, opened.signatures.filter { trusted.contains($0.key) })
  }

  /// Takes a name and its generations out of the registry; blobs go when nothing needs them any more, so that what
  /// boots from them goes on. Refused while it is assigned.
  package func deleteCapsule(_ name: String) async throws -> CapsuleView {
    let capsule = try capsule(name)
    guard capsule.mountState == nil else {
      throw ApplianceError(
        .refused,
        "The capsule \(name) is mounted. Keep what was changed (perseid vnfs umount \(name)), or throw it "
          + "away (perseid vnfs close \(name)), and delete it then.")
    }
    let defaults = registry.defaults
    try await registry.update { view in
      let users = view.nodes.values.filter { view.effective($0, defaults).vnfs == name }.map(\.name).sorted()
      let groups = view.groups.values.filter { $0.settings.vnfs == name }.map { "@" + $0.name }.sorted()
      guard users.isEmpty, groups.isEmpty else {
        let all = users + groups
        let more = all.count > 10 ? " and \(all.count - 10) more" : ""
        throw ApplianceError(
          .refused,
          "The capsule \(name) is assigned to \(all.prefix(10).joined(separator: ", "))\(more). Assign another first: "
            + "perseid node set vnfs OTHER NODES.")
      }
      return ([.delete(RecordKey.capsule + name)], ())
    }
    await collectLeftovers(trimming: false)
    return capsule
  }
}
