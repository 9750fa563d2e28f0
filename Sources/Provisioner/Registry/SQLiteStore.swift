import Foundation
import GRDB
import NetworkTypes
import Synchronization

/// The store of one machine: one SQLite file.
///
/// One writer joins all commits that wait at a moment into one transaction, so that a thousand leases
/// cost one synchronisation of the disk; and hands what was written to the watchers, in order, before
/// anyone who waits for it goes on.
package final class SQLiteStore: Store, EventStore {
  private let path: String
  private let database: DatabasePool
  private let checkpoints: Checkpoints
  private let queue = Mutex(Queue())

  private struct Queue {
    var jobs: [Job] = []
    var isWriting = false
    var isClosed = false
  }

  /// What only the writer touches, in the closures that the pool runs one at a time.
  private let writer = Mutex(Writer())

  private struct Writer {
    var watchers: [@Sendable (Batch) -> Void] = []
    /// The last batches, for who begins to watch a little later than its snapshot.
    var history: [Batch] = []
    /// Changes in `history`, and one more for each batch.
    var historyWeight = 0
    var revision: Revision = 0
    /// Batches after this revision are all in `history`.
    var historyBegin: Revision = 0
    var transactions = 0
  }

  private enum Job: Sendable {
    case commit([Change], expecting: Revision?, @Sendable (Result<Revision, any Error>) -> Void)
    case append([TimelineEvent], @Sendable (Result<Void, any Error>) -> Void)
    case trim(node: String, keepingBoots: Int, CheckedContinuation<Void, any Error>)
    case rename(node: String, to: String, CheckedContinuation<Void, any Error>)
    case watch(Revision, @Sendable (Batch) -> Void, CheckedContinuation<Void, any Error>)
    case close(CheckedContinuation<Void, any Error>)
  }

  /// Changes kept for late watchers: a batch may have one or thousands.
  private static let historyLimit = 8192
  private static let groupLimit = 4096

  /// Opens the file, making it where it is missing.
  /// - Throws: `StoreError.failed`.
  package init(path: String) throws {
    self.path = path
    do {
      var settings = GRDB.Configuration()
      settings.label = "perseid.store"
      settings.busyMode = .timeout(5)
      database = try DatabasePool(path: path, configuration: settings)
      try Self.migrator.migrate(database)
      let revision = try database.writeWithoutTransaction { db in
        // GRDB sets NORMAL with the write-ahead log, which a power cut can undo: what is
        // acknowledged here must stay.
        try db.execute(sql: "PRAGMA synchronous = FULL")
        try db.execute(sql: "PRAGMA wal_autocheckpoint = 0")
        return try Int64.fetchOne(db, sql: "SELECT revision FROM head") ?? 0
      }
      checkpoints = try Checkpoints(path: path)
      writer.withLock {
        $0.revision = revision
        $0.historyBegin = revision
      }
    } catch {
      throw StoreError.failed(
        "The store \(path) cannot be opened: \(Self.words(error)) "
          + "Check that its directory can be written to and has space; where the file is damaged, restore a copy of it."
      )
    }
  }

  private static var migrator: DatabaseMigrator {
    var migrator = DatabaseMigrator()
    migrator.registerMigration("records and events") { db in
      try db.execute(
        sql: """
          CREATE TABLE head (revision INTEGER NOT NULL);
          INSERT INTO head VALUES (0);
          CREATE TABLE records (key TEXT PRIMARY KEY NOT NULL, value BLOB, revision INTEGER NOT NULL) WITHOUT ROWID;
          CREATE TABLE events (
            id INTEGER PRIMARY KEY, node TEXT NOT NULL, boot TEXT, mac TEXT, at INTEGER NOT NULL,
            source TEXT NOT NULL, event TEXT NOT NULL, detail TEXT NOT NULL, seconds REAL);
          CREATE INDEX events_by_node ON events (node, boot);
          """)
    }
    return migrator
  }

  /// Transactions written so far: fewer than commits where commits were joined.
  package var transactionCount: Int { writer.withLock { $0.transactions } }

  /// The level at which each transaction is synchronised: 2 is FULL.
  package func synchronousLevel() async throws -> Int {
    try await database.writeWithoutTransaction { db in try Int.fetchOne(db, sql: "PRAGMA synchronous") ?? -1 }
  }

  // MARK: Store

  package func snapshot() async throws -> StoreSnapshot {
    try checkOpen()
    return try await database.read { db in
      let revision = try Int64.fetchOne(db, sql: "SELECT revision FROM head") ?? 0
      let rows = try Row.fetchAll(
        db, sql: "SELECT key, value, revision FROM records WHERE value IS NOT NULL ORDER BY key")
      return StoreSnapshot(
        revision: revision,
        records: rows.map { row in
          Record(key: row[0], value: Self.bytes(row, 1), revision: row[2])
        })
    }
  }

  package func watch(from revision: Revision, deliver: @escaping @Sendable (Batch) -> Void) async throws {
    try await withCheckedThrowingContinuation { enqueue(.watch(revision, deliver, $0)) }
  }

  package func commit(
    _ changes: [Change], expecting: Revision?, done: @escaping @Sendable (Result<Revision, any Error>) -> Void
  ) {
    enqueue(.commit(changes, expecting: expecting, done))
  }

  package func close() async throws {
    try await withCheckedThrowingContinuation { enqueue(.close($0)) }
    try checkpoints.close()
    try database.close()
  }

  // MARK: Events

  package func append(_ events: [TimelineEvent], done: @escaping @Sendable (Result<Void, any Error>) -> Void) {
    enqueue(.append(events, done))
  }

  package func events(node: String, boot: String?) async throws -> [TimelineEvent] {
    try checkOpen()
    return try await database.read { db in
      let boot =
        try boot
        ?? String.fetchOne(
          db, sql: "SELECT boot FROM events WHERE node = ? AND boot IS NOT NULL ORDER BY id DESC LIMIT 1",
          arguments: [node])
      guard let boot else { return [] }
      let rows = try Row.fetchAll(
        db,
        sql:
          """
          SELECT at, source, event, detail, node, mac, boot, seconds FROM events
          WHERE node = ? AND boot = ? ORDER BY at, id
          """,
        arguments: [node, boot])
      return rows.map { row in
        TimelineEvent(
          at: Timestamp(milliseconds: row[0]), source: TimelineEvent.Source(rawValue: row[1]) ?? .state, event: row[2],
          detail: row[3], node: row[4], mac: (row[5] as String?).flatMap { .init($0) }, boot: row[6], seconds: row[7])
      }
    }
  }

  package func trimEvents(node: String, keepingBoots: Int) async throws {
    try await withCheckedThrowingContinuation { enqueue(.trim(node: node, keepingBoots: keepingBoots, $0)) }
  }

  package func renameEvents(node: String, to name: String) async throws {
    try await withCheckedThrowingContinuation { enqueue(.rename(node: node, to: name, $0)) }
  }

  // MARK: The writer

  private func checkOpen() throws {
    if queue.withLock({ $0.isClosed }) { throw StoreError.closed }
  }

  private func enqueue(_ job: Job) {
    let (isRefused, mustStart) = queue.withLock { queue in
      if queue.isClosed { return (true, false) }
      if case .close = job { queue.isClosed = true }
      queue.jobs.append(job)
      defer { queue.isWriting = true }
      return (false, !queue.isWriting)
    }
    if isRefused { return Self.fail(job, StoreError.closed) }
    if mustStart {
      database.asyncWriteWithoutTransaction { db in self.drain(db) }
    }
  }

  private func drain(_ db: Database) {
    while true {
      let jobs = queue.withLock { queue in
        let jobs = Array(queue.jobs.prefix(Self.groupLimit))
        queue.jobs.removeFirst(jobs.count)
        if jobs.isEmpty { queue.isWriting = false }
        return jobs
      }
      if jobs.isEmpty { return }
      write(jobs, db)
    }
  }

  /// One transaction for all jobs that write. A conflict refuses its own commit only; a failure of the
  /// disk fails them all.
  private func write(_ jobs: [Job], _ db: Database) {
    let begin = writer.withLock { $0.revision }
    var revision = begin
    var batches: [Batch] = []
    var outcomes: [Result<Revision, any Error>] = []
    do {
      if jobs.contains(where: Self.writes) {
        try db.inTransaction(.immediate) {
          for job in jobs {
            do {
              outcomes.append(.success(try Self.perform(job, db, &revision, &batches)))
            } catch let conflict as StoreError {
              outcomes.append(.failure(conflict))
            }
          }
          if revision != begin {
            try db.cachedStatement(sql: "UPDATE head SET revision = ?").execute(arguments: [revision])
          }
          return .commit
        }
        writer.withLock { $0.transactions += 1 }
      } else {
        outcomes = jobs.map { _ in .success(begin) }
      }
    } catch {
      let failure = StoreError.failed(
        "The store \(path) cannot be written: \(Self.words(error)) Nothing of this change was kept.")
      for job in jobs { Self.fail(job, failure) }
      return
    }
    publish(batches, revision)
    for (job, outcome) in zip(jobs, outcomes) { finish(job, outcome) }
    // Behind the answers, so that nobody waits for it.
    checkpoints.wrote(jobs.reduce(0) { $0 + Self.weight($1) }, on: db)
  }

  /// How many rows a job writes, about.
  private static func weight(_ job: Job) -> Int {
    switch job {
    case .commit(let changes, _, _): changes.count
    case .append(let events, _): events.count
    case .trim, .rename: 1
    case .watch, .close: 0
    }
  }

  private static func writes(_ job: Job) -> Bool {
    switch job {
    case .append(let events, _): !events.isEmpty
    case .commit, .trim, .rename: true
    case .watch, .close: false
    }
  }

  private static func perform(
    _ job: Job, _ db: Database, _ revision: inout Revision, _ batches: inout [Batch]
  ) throws -> Revision {
    switch job {
    case .commit(let changes, let expecting, _):
      if let expecting {
        let statement = try db.cachedStatement(sql: "SELECT revision FROM records WHERE key = ?")
        for change in changes {
          if let last = try Int64.fetchOne(statement, arguments: [change.key]), last > expecting {
            throw StoreError.conflict(key: change.key)
          }
        }
      }
      revision += 1
      // A deleted key stays as a row without a value, so that whoever read before the deletion is refused too.
      let statement = try db.cachedStatement(
        sql:
          """
          INSERT INTO records VALUES (?, ?, ?)
          ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision
          """
      )
      for change in changes {
        try statement.execute(arguments: [change.key, change.value.map { Data($0) }, revision])
      }
      batches.append(Batch(revision: revision, changes: changes))
    case .append(let events, _):
      let statement = try db.cachedStatement(
        sql: "INSERT INTO events (node, boot, mac, at, source, event, detail, seconds) VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
      for event in events {
        guard let node = event.node else { continue }
        try statement.execute(arguments: [
          node, event.boot, event.mac?.description, event.at.milliseconds, event.source.rawValue, event.event,
          event.detail, event.seconds,
        ])
      }
    case .trim(let node, let keepingBoots, _):
      try db.execute(
        sql: """
          DELETE FROM events WHERE node = ?1 AND ifnull(boot, '') NOT IN
          (SELECT boot FROM events WHERE node = ?1 AND boot IS NOT NULL GROUP BY boot ORDER BY max(id) DESC LIMIT ?2)
          """, arguments: [node, keepingBoots])
    case .rename(let node, let name, _):
      try db.execute(sql: "UPDATE events SET node = ? WHERE node = ?", arguments: [name, node])
    case .watch, .close:
      break
    }
    return revision
  }

  private func publish(_ batches: [Batch], _ revision: Revision) {
    let watchers = writer.withLock { writer in
      writer.revision = revision
      writer.history += batches
      writer.historyWeight += batches.reduce(0) { $0 + $1.changes.count + 1 }
      // Half of it at once: what is left has to be moved.
      if writer.historyWeight > 2 * Self.historyLimit {
        var dropped = 0
        while writer.historyWeight > Self.historyLimit {
          writer.historyWeight -= writer.history[dropped].changes.count + 1
          dropped += 1
        }
        writer.historyBegin = writer.history[dropped - 1].revision
        writer.history.removeFirst(dropped)
      }
      return writer.watchers
    }
    for batch in batches {
      for deliver in watchers { deliver(batch) }
    }
  }

  private func finish(_ job: Job, _ outcome: Result<Revision, any Error>) {
    switch job {
    case .commit(_, _, let done): done(outcome)
    case .append(_, let done): done(outcome.map { _ in })
    case .trim(_, _, let continuation), .rename(_, _, let continuation):
      continuation.resume(with: outcome.map { _ in })
    case .close(let continuation): continuation.resume()
    case .watch(let revision, let deliver, let continuation):
      let missed: [Batch]? = writer.withLock { writer in
        guard revision >= writer.historyBegin else { return nil }
        writer.watchers.append(deliver)
        return writer.history.filter { $0.revision > revision }
      }
      guard let missed else {
        return continuation.resume(throwing: StoreError.compacted(oldest: writer.withLock { $0.historyBegin }))
      }
      for batch in missed { deliver(batch) }
      continuation.resume()
    }
  }

  private static func fail(_ job: Job, _ error: StoreError) {
    switch job {
    case .commit(_, _, let done): done(.failure(error))
    case .append(_, let done): done(.failure(error))
    case .trim(_, _, let continuation), .rename(_, _, let continuation), .watch(_, _, let continuation),
      .close(let continuation):
      continuation.resume(throwing: error)
    }
  }

  // MARK: Values

  private static func bytes(_ row: Row, _ index: Int) -> [UInt8] {
    let data: Data? = row[index]
    return data.map { [UInt8]($0) } ?? []
  }

  private static func words(_ error: any Error) -> String {
    guard let error = error as? DatabaseError else { return "\(error)." }
    return switch error.resultCode {
    case .SQLITE_FULL: "the disk is full. Free some space there and try again."
    case .SQLITE_READONLY, .SQLITE_PERM, .SQLITE_CANTOPEN:
      "it is not writable for this user (\(error.message ?? "no reason given")). "
        + "Run as the appliance's user, or as root."
    case .SQLITE_NOTADB, .SQLITE_CORRUPT: "the file is no database, or is damaged."
    case .SQLITE_IOERR: "the disk reports an error (\(error.message ?? "no reason given"))."
    default: "\(error.message ?? "\(error)")."
    }
  }
}
