import NetworkTypes

extension Appliance {
  /// Puts another machine in a node's place: `old` keeps its name, groups, settings and fixed address, and has the
  /// cards and identifiers of `new` from now on. A node called `new` is no more.
  /// - Parameter new: A node, or the hardware address of a machine that is none, or that is held.
  package func replaceNode(_ old: String, by new: String) async throws -> NodeView {
    let who = Changer.name
    let now = Timestamp.now
    let (cards, gone) = try await registry.update { view in
      guard let node = view.node(named: old) else {
        throw ApplianceError(.notFound, "There is no node '\(old)'. perseid node list shows those there are.")
      }
      let card = MACAddress(new)
      if card == nil, !NodeName.isValid(new) {
        throw NodeKeys.invalid("new", new, "a node, or a hardware address such as 52:54:00:12:34:56")
      }
      let owner = card.map { view.node(with: $0) } ?? view.node(named: new)
      guard card != nil || owner != nil else {
        throw ApplianceError(
          .notFound, "There is no node '\(new)'. Name one, or the new machine's hardware address.")
      }
      guard owner?.name != old else {
        throw ApplianceError(.invalid, "\(new) is \(old) already: a node is not replaced by itself.")
      }
      if let card, let owner, !owner.isHeld {
        throw ApplianceError(
          .conflict,
          "The hardware address \(card) belongs to node \(owner.name). To put that machine in \(old)'s place: "
            + "perseid node replace \(old) \(owner.name).")
      }
      var replaced = node
      replaced.macs = try owner?.macs ?? NodeKeys.macs(new, of: old, in: view)
      replaced.guid = owner?.guid
      replaced.ownGUID = owner?.ownGUID
      replaced.clientIdentifier = owner?.clientIdentifier
      replaced.isHeld = false
      var changes: [Change] = [.delete(RecordKey.status + old), .delete(RecordKey.facts + old)]
      // Of machines that run under these names no more.
      for name in [old, owner?.name].compactMap(\.self) where view.livesyncs[name] != nil {
        changes.append(.delete(RecordKey.livesync + name))
      }
      if let owner {
        changes += try Registry.changes(from: owner, to: nil)
        changes += try Self.move(view.boots(of: owner.name), from: owner.name, to: old)
      }
      // After those of the other: the last word on a card is that it is this node's.
      changes += try Registry.changes(from: node, to: replaced)
      changes += view.boots(of: old).map { .delete(RecordKey.boot + $0.id) }
      let made = RegistryView.Made(
        what: "node \(old)", action: "replace", key: "mac",
        before: node.macs.map(\.description).joined(separator: ","),
        after: replaced.macs.map(\.description).joined(separator: ",") + (owner.map { " of \($0.name)" } ?? ""))
      changes += try view.records(of: [made], by: who, at: now)
      return (changes, (node.macs, owner?.name))
    }
    ledger.forget(cards)
    board.forget(old)
    try await timeline.forget(old)
    if let gone {
      board.rename(gone, to: old)
      try await timeline.rename(gone, to: old)
    }
    return try one(old)
  }

  /// What people changed, the last at the end.
  /// - Parameter count: Most entries.
  package func changeLog(count: Int) -> [ChangeRecord] {
    let records = registry.read { Array($0.changes.values) }
    return Array(records.sorted { $0.number < $1.number }.suffix(count))
  }

  /// What a node reported in the boots that are kept, and what was changed about it, in order.
  /// - Parameter count: Most entries: the last ones.
  package func nodeLog(_ name: String, count: Int) async throws -> [LogEntry] {
    _ = try one(name)
    var entries: [LogEntry] = []
    for boot in registry.read({ $0.boots(of: name) }) {
      entries += try await timeline.events(of: name, boot: boot.id).map { event in
        LogEntry(
          at: event.at, source: event.source.rawValue, event: event.event, detail: event.detail, boot: event.boot,
          who: nil)
      }
    }
    // The newest first, since a node may have had another name.
    var known = "node \(name)"
    for record in changeLog(count: ChangeRecord.limit).reversed() {
      if record.key == "name", let before = record.before, let after = record.after, known == "node \(after)" {
        known = "node \(before)"
      }
      guard record.what == known else { continue }
      entries.append(
        LogEntry(
          at: record.at, source: "change", event: record.action, detail: record.words, boot: nil, who: record.who))
    }
    return Array(entries.sorted { $0.at < $1.at }.suffix(count))
  }
}
