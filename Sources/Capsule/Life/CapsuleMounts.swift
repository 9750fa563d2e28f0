package import CapsuleFormat
import FoundationEssentials

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Capsules whose root file systems are unpacked to be changed: `mounts/NAME` in the state directory, and beside it,
/// in `mounts/.records`, what is known of each. A record is there before the tree is, and longer, so that whatever
/// ended in the middle can be told and cleaned up.
package struct CapsuleMounts: Sendable {
  private let directory: String

  /// - Parameter directory: Made when the first capsule is mounted.
  package init(directory: String) {
    self.directory = directory
  }

  /// What is known of a mount.
  package struct Record: Hashable, Sendable, Codable {
    package enum Phase: String, Hashable, Sendable, Codable, CaseIterable {
      case unpacking, mounted, removing
    }

    package var name: String
    /// The generation that was unpacked.
    package var generation: Int
    package var digest: Digest
    /// `StoredCapsule.contents` of it: what is packed again without a change has the same.
    package var contents: Digest
    package var phase: Phase

    package init(name: String, generation: Int, digest: Digest, contents: Digest, phase: Phase) {
      self.name = name
      self.generation = generation
      self.digest = digest
      self.contents = contents
      self.phase = phase
    }
  }

  /// How a mount stands.
  package enum State: String, Hashable, Sendable, CaseIterable {
    case mounted
    /// A command is at it: it is being unpacked, packed or removed, or somebody is in a shell.
    case busy
    /// Unpacking or removing it was interrupted: only `close` is of use.
    case interrupted
  }

  /// Where a capsule's tree is, or would be.
  package func path(of name: String) -> String { "\(directory)/\(name)" }

  private func recordPath(of name: String) -> String { "\(directory)/.records/\(name).json" }

  /// - Returns: `nil` where the capsule is not mounted, nor was left half-way.
  package func record(of name: String) -> Record? {
    guard CapsuleName.isValid(name), let file = FileDescriptor.open(recordPath(of: name), O_RDONLY) else { return nil }
    var bytes = [UInt8](repeating: 0, count: 1 << 16)
    guard let count = bytes.withUnsafeMutableBytes({ file.fill($0) }) else { return nil }
    return try? JSONDecoder().decode(Record.self, from: Data(bytes[..<count]))
  }

  /// - Returns: `nil` where the capsule is not mounted, nor was left half-way.
  package func state(of name: String) -> State? {
    guard let record = record(of: name) else { return nil }
    if let lock = FileDescriptor.open("\(directory)/.records/\(name).lock", O_RDONLY), !take(lock.number, LOCK_EX) {
      return .busy
    }
    return record.phase == .mounted ? .mounted : .interrupted
  }

  /// Keeps others from a mount while something is done with it.
  package final class Lock: Sendable {
    private let file: FileDescriptor

    fileprivate init(owning file: consuming FileDescriptor) {
      self.file = file
    }
  }

  /// - Parameter isShared: Whether others may have one too that is shared: those who only run something in the tree.
  /// - Throws: `CapsuleError` with code `busy`.
  package func lock(_ name: String, isShared: Bool = false) throws(CapsuleError) -> Lock {
    try makeDirectories()
    let path = "\(directory)/.records/\(name).lock"
    guard let file = FileDescriptor.open(path, O_RDWR | O_CREAT, mode: 0o600) else {
      throw .writing(path, errno: errno)
    }
    guard take(file.number, isShared ? LOCK_SH : LOCK_EX) else {
      throw CapsuleError(
        .busy, "The mount of \(name) is in use: a shell is open in it, or another command works on it",
        remedy: "Leave the shell, or wait until the command has ended, and try again")
    }
    return Lock(owning: file)
  }

  /// Takes a lock, and waits a moment for it: who only looks how a mount stands has it for an instant.
  private func take(_ file: Int32, _ operation: Int32) -> Bool {
    for _ in 1...20 {
      if flock(file, operation | LOCK_NB) == 0 { return true }
      usleep(2000)
    }
    return false
  }

  /// For root alone: a tree has programs that run with their owner's rights.
  private func makeDirectories() throws(CapsuleError) {
    for path in [directory, "\(directory)/.records"] where mkdir(path, 0o700) != 0 && errno != EEXIST {
      throw .writing(path, errno: errno)
    }
  }

  /// The record of a mount that can be worked in.
  /// - Throws: `CapsuleError` with code `notMounted`.
  package func mounted(_ name: String) throws(CapsuleError) -> Record {
    guard let record = record(of: name) else {
      throw CapsuleError(
        .notMounted, "The capsule \(name) is not mounted", remedy: "Mount it: perseid vnfs mount \(name)")
    }
    guard record.phase == .mounted else { throw interrupted(name) }
    return record
  }

  private func interrupted(_ name: String) -> CapsuleError {
    CapsuleError(
      .notMounted, "Mounting or closing \(name) was interrupted, and what is in \(path(of: name)) is not whole",
      remedy: "Clean it up: perseid vnfs close \(name)")
  }

  /// Unpacks a capsule's root file system to be changed. To be called with the lock held, and with the store held.
  ///
  /// - Throws: `CapsuleError`; nothing is left then.
  package func mount(
    _ capsule: StoredCapsule, name: String, generation: Int, from store: ContentStore
  ) throws(CapsuleError) {
    if let record = record(of: name) {
      guard record.phase == .mounted else { throw interrupted(name) }
      throw CapsuleError(
        .busy, "\(name) is mounted already, at \(path(of: name)), from generation \(record.generation)",
        remedy: "Change it there; then perseid vnfs umount \(name), or perseid vnfs close \(name)")
    }
    try makeDirectories()
    var record = Record(
      name: name, generation: generation, digest: capsule.digest, contents: try capsule.contents(in: store),
      phase: .unpacking)
    try write(record)
    do {
      // What an earlier version or a hand left there is nobody's.
      try removeTree(name)
      try Unpacker.unpack(capsule, from: store, into: path(of: name))
      record.phase = .mounted
      try write(record)
    } catch {
      try? removeTree(name)
      unlink(recordPath(of: name))
      throw error
    }
  }

  /// Removes a mounted tree with all changes in it. To be called with the lock held.
  package func remove(_ name: String) throws(CapsuleError) {
    guard var record = record(of: name) else {
      throw CapsuleError(.notMounted, "The capsule \(name) is not mounted", remedy: "There is nothing to close")
    }
    try refuseMountPoints(below: path(of: name))
    record.phase = .removing
    try write(record)
    try removeTree(name)
    guard unlink(recordPath(of: name)) == 0 else { throw .writing(recordPath(of: name), errno: errno) }
  }

  private func removeTree(_ name: String) throws(CapsuleError) {
    let path = path(of: name)
    try refuseMountPoints(below: path)
    try Filter.run(["rm", "-rf", "--one-file-system", "--", path])
  }

  /// Whoever mounted something into the tree by hand would lose it with the tree.
  private func refuseMountPoints(below path: String) throws(CapsuleError) {
    guard let file = FileDescriptor.open("/proc/self/mountinfo", O_RDONLY) else { return }
    var bytes = [UInt8](repeating: 0, count: 4 << 20)
    guard let count = bytes.withUnsafeMutableBytes({ file.fill($0) }) else { return }
    for line in String(decoding: bytes[..<count], as: UTF8.self).split(separator: "\n") {
      // proc(5): the fifth field is the mount point.
      let fields = line.split(separator: " ", maxSplits: 5)
      guard fields.count > 4, fields[4].hasPrefix(path + "/") else { continue }
      throw CapsuleError(
        .busy, "Something is mounted at \(fields[4]), inside the mounted capsule",
        remedy: "Unmount it (umount '\(fields[4])'), and try again")
    }
  }

  private func write(_ record: Record) throws(CapsuleError) {
    let path = recordPath(of: record.name)
    let temporary = path + ".new"
    guard let bytes = try? canonicalJSON(record),
      let file = FileDescriptor.open(temporary, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o600),
      bytes.withUnsafeBytes({ file.writeAll($0) }), fsync(file.number) == 0, rename(temporary, path) == 0
    else { throw .writing(path, errno: errno) }
  }
}

extension StoredCapsule {
  /// A digest of all that is in the root file system, whatever it was compressed with.
  package func contents(in store: ContentStore) throws(CapsuleError) -> Digest {
    Digest(of: try frames(from: store).frames.flatMap { Array($0.uncompressedDigest.hexadecimal.utf8) })
  }
}
