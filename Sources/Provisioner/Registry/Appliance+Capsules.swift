package import CapsuleFormat

extension Appliance {
  package func capsules() -> [CapsuleView] {
    let defaults = registry.defaults
    return registry.read { view in
      var counts: [String: Int] = [:]
      for node in view.nodes.values { counts[view.effective(node, defaults).vnfs, default: 0] += 1 }
      return view.capsules.values.sorted { $0.name < $1.name }.compactMap { Self.view($0, counts[$0.name] ?? 0) }
    }
  }

  package func capsule(_ name: String) throws -> CapsuleView {
    guard let capsule = capsules().first(where: { $0.name == name }) else { throw noCapsule(name) }
    return capsule
  }

  private func noCapsule(_ name: String) -> ApplianceError {
    let names = registry.read { $0.capsules.keys.sorted() }.joined(separator: ", ")
    return ApplianceError(
      .notFound,
      "There is no capsule '\(name)'. "
        + (names.isEmpty ? "There is none yet: make one with 'perseid vnfs import'." : "There are: \(names)."))
  }

  private static func view(_ record: CapsuleRecord, _ nodes: Int) -> CapsuleView? {
    guard let current = record.currentGeneration else { return nil }
    return CapsuleView(
      name: record.name, version: current.version, generation: current.number, digest: current.digest.description,
      kernel: current.kernel, bytes: current.bytes, mountPath: nil, operatingSystem: current.operatingSystem,
      architecture: current.architecture, nodes: nodes, created: current.registered,
      generations: record.generations.map { generation in
        CapsuleView.GenerationView(
          generation: generation.number, digest: generation.digest.description, kernel: generation.kernel,
          bytes: generation.bytes, created: generation.registered, isCurrent: generation.number == record.current)
      })
  }

  /// Makes a capsule that is in the content store the next generation of a name, which boots from now on.
  /// The digest that is current already stays the generation it is.
  package func registerCapsule(_ name: String, digest: CapsuleFormat.Digest) async throws -> CapsuleView {
    guard CapsuleName.isValid(name) else { throw NodeKeys.invalid("vnfs", name, CapsuleName.allowed) }
    let files = try catalog.files(of: digest)
    let now = Timestamp.now
    try await registry.update { view in
      var record = view.capsules[name] ?? CapsuleRecord(name: name, current: 0, generations: [])
      if record.currentGeneration?.digest == digest { return ([], ()) }
      let number = (record.generations.map(\.number).max() ?? 0) + 1
      record.generations.append(
        CapsuleRecord.Generation(
          number: number, digest: digest, registered: now,
          version: files.manifest.annotations?["org.opencontainers.image.version"], kernel: files.config.kernelRelease,
          architecture: files.config.architecture, operatingSystem: files.config.operatingSystem, bytes: files.bytes,
          rootBytes: files.config.rootBytes))
      record.current = number
      return ([try .put(RecordKey.capsule + name, record)], ())
    }
    return try capsule(name)
  }

  /// Takes a name and its generations out of the registry; the blobs stay. Refused while it is assigned.
  package func deleteCapsule(_ name: String) async throws -> CapsuleView {
    let capsule = try capsule(name)
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
    return capsule
  }
}
