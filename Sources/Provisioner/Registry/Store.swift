package import DHCP

/// The number of a commit: every commit has a higher one than those before it.
package typealias Revision = Int64

/// One key and its value, with the revision of the commit that wrote it.
package struct Record: Hashable, Sendable {
  package var key: String
  package var value: [UInt8]
  package var revision: Revision

  package init(key: String, value: [UInt8], revision: Revision) {
    self.key = key
    self.value = value
    self.revision = revision
  }
}

/// One key to write, or to delete where there is no value.
package struct Change: Hashable, Sendable {
  package var key: String
  package var value: [UInt8]?
  /// What `value` says, where it is a lease: there are thousands of them in a second, and who follows the store need
  /// not read each again that was written just now.
  package var lease: Lease?

  package init(key: String, value: [UInt8]?, lease: Lease? = nil) {
    self.key = key
    self.value = value
    self.lease = lease
  }
}

/// What one commit changed.
package struct Batch: Hashable, Sendable {
  package var revision: Revision
  package var changes: [Change]

  package init(revision: Revision, changes: [Change]) {
    self.revision = revision
    self.changes = changes
  }
}

/// Everything there is, as it was after one commit.
package struct StoreSnapshot: Hashable, Sendable {
  package var revision: Revision
  package var records: [Record]

  package init(revision: Revision, records: [Record]) {
    self.revision = revision
    self.records = records
  }
}

/// Where registry, boots and leases live.
///
/// Small enough for etcd to stand behind it: keys with values, one revision for each commit, and
/// commits that hold only if nobody was there before. Decisions never read the store: they read a
/// view in memory that `watch` feeds.
package protocol Store: Sendable {
  func snapshot() async throws -> StoreSnapshot

  /// Hands over every batch after `revision`, in order and without gaps, until the store is closed.
  /// `deliver` is called on the store's own path and must return at once.
  /// - Throws: `StoreError.compacted` where the history does not reach back so far: take a
  ///   snapshot and watch from there.
  func watch(from revision: Revision, deliver: @escaping @Sendable (Batch) -> Void) async throws

  /// Writes all of the changes or none, and returns at once.
  /// - Parameters:
  ///   - expecting: Where given, none of the keys may have been written or deleted after this revision:
  ///     `StoreError.conflict` where one has been.
  ///   - done: Called when they are on the disk and every watcher has them, on the store's own path; must
  ///     return at once.
  func commit(
    _ changes: [Change], expecting: Revision?, done: @escaping @Sendable (Result<Revision, any Error>) -> Void)

  /// Waits for the commits begun, then lets go of the files. Later calls throw `StoreError.closed`.
  func close() async throws
}

extension Store {
  /// The same, waiting for it.
  @discardableResult
  package func commit(_ changes: [Change], expecting: Revision?) async throws -> Revision {
    try await withCheckedThrowingContinuation { continuation in
      commit(changes, expecting: expecting) { continuation.resume(with: $0) }
    }
  }
}

/// What a store could not do.
package enum StoreError: Error, Hashable, Sendable, CustomStringConvertible {
  /// This key was changed by someone else meanwhile.
  case conflict(key: String)
  /// The history begins after the revision asked for.
  case compacted(oldest: Revision)
  case closed
  /// In words for a person: what was done, with what file, what went wrong, what to do.
  case failed(String)

  package var description: String {
    switch self {
    case .conflict(let key): "The record \(key) was changed by someone else at the same moment. Try again."
    case .compacted(let oldest): "The store's history begins at revision \(oldest)."
    case .closed: "The store is closed: the appliance is stopping."
    case .failed(let reason): reason
    }
  }
}
