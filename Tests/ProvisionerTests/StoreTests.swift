import DHCP
import Foundation
import NetworkTypes
import Synchronization
import Testing

@testable import Provisioner

/// What every store must do. A store that stands behind the registry is added to `kinds`.
@Suite("Every store")
struct StoreConformanceTests {
  static let kinds = ["SQLite"]

  private func open(_ kind: String, _ directory: TestDirectory) throws -> SQLiteStore {
    try SQLiteStore(path: directory.path + "/store.sqlite")
  }

  @Test("Gives back what was committed, after it was opened again too", arguments: kinds)
  func reopen(kind: String) async throws {
    let directory = try TestDirectory()
    let store = try open(kind, directory)
    let first = try await store.commit([Change(key: "a", value: [1]), Change(key: "b", value: [2])], expecting: nil)
    let second = try await store.commit([Change(key: "a", value: nil), Change(key: "c", value: [])], expecting: nil)
    #expect(second > first)
    let expected = StoreSnapshot(
      revision: second,
      records: [Record(key: "b", value: [2], revision: first), Record(key: "c", value: [], revision: second)])
    #expect(try await store.snapshot() == expected)
    try await store.close()
    let again = try open(kind, directory)
    #expect(try await again.snapshot() == expected)
    #expect(try await again.commit([Change(key: "d", value: [4])], expecting: nil) > second)
    try await again.close()
  }

  @Test("Refuses a commit whose keys someone changed meanwhile, and writes nothing of it", arguments: kinds)
  func conflict(kind: String) async throws {
    let directory = try TestDirectory()
    let store = try open(kind, directory)
    let seen = try await store.commit([Change(key: "a", value: [1])], expecting: nil)
    try await store.commit([Change(key: "a", value: [2])], expecting: seen)
    await #expect(throws: StoreError.conflict(key: "a")) {
      try await store.commit([Change(key: "b", value: [9]), Change(key: "a", value: [3])], expecting: seen)
    }
    #expect(try await store.snapshot().records.map(\.value) == [[2]])
    // A key that was never there, and one that was deleted after it was seen.
    let now = try await store.commit([Change(key: "new", value: [1])], expecting: seen)
    try await store.commit([Change(key: "new", value: nil)], expecting: now)
    await #expect(throws: StoreError.conflict(key: "new")) {
      try await store.commit([Change(key: "new", value: [2])], expecting: now)
    }
    try await store.close()
  }

  @Test(
    "Hands every batch to watchers in order before the commit returns, from any revision it still has", arguments: kinds
  )
  func watch(kind: String) async throws {
    let directory = try TestDirectory()
    let store = try open(kind, directory)
    let seen = SeenBatches()
    let first = try await store.commit([Change(key: "a", value: [1])], expecting: nil)
    let second = try await store.commit([Change(key: "a", value: [2])], expecting: nil)
    try await store.watch(from: first) { seen.add($0) }
    #expect(seen.all == [Batch(revision: second, changes: [Change(key: "a", value: [2])])])
    let third = try await store.commit([Change(key: "a", value: nil)], expecting: nil)
    #expect(seen.all.last == Batch(revision: third, changes: [Change(key: "a", value: nil)]))
    try await store.close()
    let again = try open(kind, directory)
    await #expect(throws: StoreError.compacted(oldest: third)) { try await again.watch(from: first) { _ in } }
    try await again.close()
  }

  @Test("Refuses work after it was closed", arguments: kinds)
  func closed(kind: String) async throws {
    let directory = try TestDirectory()
    let store = try open(kind, directory)
    try await store.close()
    await #expect(throws: StoreError.closed) { try await store.commit([Change(key: "a", value: [1])], expecting: nil) }
    await #expect(throws: StoreError.closed) { _ = try await store.snapshot() }
  }

  @Test("Of commits that race for one key from one revision, exactly one wins", arguments: kinds)
  func race(kind: String) async throws {
    let directory = try TestDirectory()
    let store = try open(kind, directory)
    let won = await withTaskGroup(of: Bool.self) { group in
      for number in 0..<50 {
        group.addTask {
          (try? await store.commit([Change(key: "one", value: [UInt8(number)])], expecting: 0)) != nil
        }
      }
      return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
    }
    #expect(won == 1)
    try await store.close()
  }
}

final class SeenBatches: Sendable {
  private let batches = Mutex<[Batch]>([])
  var all: [Batch] { batches.withLock { $0 } }
  func add(_ batch: Batch) { batches.withLock { $0.append(batch) } }
}

@Suite("The SQLite store")
struct SQLiteStoreTests {
  @Test("Takes its write-ahead log over into the file while commits go on, and begins the log anew")
  func checkpoints() async throws {
    let directory = try TestDirectory()
    let path = directory.path + "/store.sqlite"
    let store = try SQLiteStore(path: path)
    /// The checkpoint sequence number: bytes 12 to 15 of the log (SQLite file format, section 4.1). It counts how often
    /// the log was begun anew.
    func sequence() throws -> [UInt8] {
      let log = try FileHandle(forReadingFrom: URL(fileURLWithPath: path + "-wal"))
      defer { try? log.close() }
      return [UInt8](try log.read(upToCount: 16) ?? Data()).suffix(4)
    }
    try await store.commit([Change(key: "first", value: [1])], expecting: nil)
    let begin = try sequence()
    var commits = 0
    while try sequence() == begin, commits < 2000 {
      commits += 1
      let changes = (0..<100).map { Change(key: "k\(commits)-\($0)", value: [1, 2, 3]) }
      try await store.commit(changes, expecting: nil)
    }
    #expect(try sequence() != begin, "after \(commits) commits")
    #expect(try await store.snapshot().records.count == commits * 100 + 1)
    try await store.close()
    let again = try SQLiteStore(path: path)
    #expect(try await again.snapshot().records.count == commits * 100 + 1)
    try await again.close()
  }

  @Test("Is synchronised in full, which the library's own set-up is not")
  func synchronous() async throws {
    let directory = try TestDirectory()
    let store = try SQLiteStore(path: directory.path + "/store.sqlite")
    #expect(try await store.synchronousLevel() == 2)
    try await store.close()
  }

  @Test("Joins commits that wait at one moment into one transaction")
  func groupCommit() async throws {
    let directory = try TestDirectory()
    let store = try SQLiteStore(path: directory.path + "/store.sqlite")
    let before = store.transactionCount
    try await withThrowingTaskGroup(of: Void.self) { group in
      for number in 0..<2000 {
        group.addTask { try await store.commit([Change(key: "k\(number)", value: [1])], expecting: nil) }
      }
      try await group.waitForAll()
    }
    #expect(store.transactionCount - before < 1000)
    #expect(try await store.snapshot().records.count == 2000)
    try await store.close()
  }

  @Test("What a commit returned for is in the files, whatever becomes of the process")
  func crash() async throws {
    let directory = try TestDirectory()
    let store = try SQLiteStore(path: directory.path + "/store.sqlite")
    try await store.commit([Change(key: "lease", value: [7])], expecting: nil)
    // The files as a killed process leaves them: nothing closed, nothing checkpointed.
    let copy = directory.path + "/copy"
    try FileManager.default.createDirectory(atPath: copy, withIntermediateDirectories: true)
    for name in ["store.sqlite", "store.sqlite-wal"] {
      try FileManager.default.copyItem(atPath: "\(directory.path)/\(name)", toPath: "\(copy)/\(name)")
    }
    let again = try SQLiteStore(path: copy + "/store.sqlite")
    #expect(try await again.snapshot().records.map(\.value) == [[7]])
    try await again.close()
    try await store.close()
  }

  @Test("A file that is no database is an error that names it")
  func damaged() throws {
    let directory = try TestDirectory()
    try directory.write(String(repeating: "this is no database. ", count: 500), to: "store.sqlite")
    let error = try #require(throws: StoreError.self) { try SQLiteStore(path: directory.path + "/store.sqlite") }
    #expect(error.description.contains(directory.path) && error.description.contains("no database"))
  }

  @Test("The lock lets one process in, and names the one that is there")
  func lock() throws {
    let directory = try TestDirectory()
    let path = directory.path + "/lock"
    do {
      let held = try StateLock(path: path, purpose: "perseid serve")
      let error = try #require(throws: ApplianceError.self) { _ = try StateLock(path: path, purpose: "second") }
      #expect(error.code == .busy && error.message.contains("process \(getpid()) (perseid serve)"))
      _ = consume held
    }
    _ = try StateLock(path: path, purpose: "third")
  }

  @Test("Leases come back after the store was opened again, each in the place of the one with its address")
  func leases() async throws {
    let directory = try TestDirectory()
    let store = try SQLiteStore(path: directory.path + "/store.sqlite")
    let address = IPv4Address(10, 0, 0, 7)
    let first = Lease(address: address, holder: .hardware(mac(1)), state: .bound, expires: 100, hostName: "a\tb")
    let second = Lease(address: address, holder: .identifier([0, 255, 16]), state: .declined, expires: -5)
    let other = Lease(address: IPv4Address(10, 0, 0, 8), holder: .hardware(mac(2)), state: .released, expires: 7)
    try await RegistryLeases(store: store).commit([first, other])
    #expect(Set(try await RegistryLeases(store: store).leases()) == [first, other])
    try await RegistryLeases(store: store).commit([second])
    try await store.close()
    let again = try SQLiteStore(path: directory.path + "/store.sqlite")
    #expect(Set(try await RegistryLeases(store: again).leases()) == [second, other])
    try await again.close()
  }
}
