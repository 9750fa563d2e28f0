import GRDB
import Synchronization

/// Takes what is in SQLite's write-ahead log over into the database file, beside the writer: done by the writer itself,
/// as SQLite does it unless told otherwise, every thousandth commit or so would wait for milliseconds more.
final class Checkpoints: Sendable {
  private struct State {
    /// Rows written since the last checkpoint began.
    var rows = 0
    var isRunning = false
    /// Most of the log has been taken over: what came meanwhile is left.
    var isRestDue = false
  }

  private let database: DatabaseQueue
  private let state = Mutex(State())

  /// About a page each, so that the log comes to some 50 MB under load. Pages that changed several times meanwhile are
  /// taken over once: with a quarter of this the slowest of a hundred leases wait a quarter longer.
  private static let rowLimit = 8000

  /// - Throws: What GRDB throws where the file cannot be opened a second time.
  init(path: String) throws {
    var settings = GRDB.Configuration()
    settings.label = "perseid.store.checkpoints"
    settings.busyMode = .timeout(5)
    database = try DatabaseQueue(path: path, configuration: settings)
  }

  /// Begins a checkpoint where it is due. Called by the writer between its transactions.
  ///
  /// The log is used from its beginning again once all of it has been taken over, which never happens beside a writer
  /// that always goes on. So that it does not grow without end the writer takes over the little that is left itself.
  func wrote(_ rows: Int, on writer: Database) {
    let (begins, isRestDue) = state.withLock { state in
      state.rows += rows
      if state.isRestDue {
        state.isRestDue = false
        return (false, true)
      }
      guard state.rows >= Self.rowLimit, !state.isRunning else { return (false, false) }
      state.rows = 0
      state.isRunning = true
      return (true, false)
    }
    // A checkpoint that fails loses nothing: the log stays, and the next one takes it over.
    if isRestDue { _ = try? writer.checkpoint(.passive) }
    guard begins else { return }
    database.asyncWriteWithoutTransaction { database in
      _ = try? database.checkpoint(.passive)
      self.state.withLock { state in
        state.isRunning = false
        state.isRestDue = true
      }
    }
  }

  /// - Throws: What GRDB throws where the file cannot be let go.
  func close() throws {
    try database.close()
  }
}
