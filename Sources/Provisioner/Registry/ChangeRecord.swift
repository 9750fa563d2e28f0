/// One thing that somebody changed in the registry.
package struct ChangeRecord: Hashable, Sendable, Codable {
  /// From 1 on, in order.
  package var number: Int
  package var at: Timestamp
  /// `root`, `uid 1000`, `token backup`.
  package var who: String
  /// `node n0001`, `group gpu`, `registry`.
  package var what: String
  /// `add`, `set`, `delete`, `replace`, `import`.
  package var action: String
  package var key: String?
  package var before: String?
  package var after: String?

  /// Records that are kept; the oldest give way.
  package static let limit = 10_000

  /// `set vnfs debian-12 -> rocky-9`.
  package var words: String {
    guard let key else { return [action, after].compactMap { $0 }.joined(separator: " ") }
    return "\(action) \(key) \(before ?? "(inherited)") -> \(after ?? "(inherited)")"
  }
}

/// Who a change is made for: set by whoever takes the request, read by whoever makes the change.
package enum Changer {
  @TaskLocal package static var name = "perseid"
}

extension RegistryView {
  /// A change as it is to be written with what it changes, in one commit.
  struct Made {
    var what: String
    var action: String
    var key: String?
    var before: String?
    var after: String?
  }

  /// The records of changes by `who`, one after the other. Of very many the first are written, and how many there are.
  func records(of made: [Made], by who: String, at now: Timestamp) throws -> [Change] {
    let limit = ChangeRecord.limit / 4
    var made = made
    if made.count > limit {
      let more = made.count - limit
      made = Array(made.prefix(limit))
      made.append(Made(what: "registry", action: "\(made[0].action) of \(more) more"))
    }
    return try made.enumerated().map { index, made in
      let record = ChangeRecord(
        number: nextChange + index, at: now, who: who, what: made.what, action: made.action, key: made.key,
        before: made.before.map { String($0.prefix(1024)) }, after: made.after.map { String($0.prefix(1024)) })
      return try .put(RecordKey.change + String(record.number % ChangeRecord.limit), record)
    }
  }
}

extension ChangeView {
  /// `nil` where nothing was changed.
  func made(_ kind: String) -> RegistryView.Made? {
    before == after
      ? nil : RegistryView.Made(what: "\(kind) \(name)", action: "set", key: key, before: before, after: after)
  }
}
