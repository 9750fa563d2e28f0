import CapsuleFormat
import FoundationEssentials

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What a build leaves for the next one: which frames it made of what, and which images.
///
/// Only builds on this appliance write records, so frames of imported capsules, whose makers may say anything of
/// them, are never taken for what they claim to be. A record that is missing or stale costs time, nothing else.
struct BuildRecord: Codable, Sendable {
  struct Span: Codable, Sendable {
    /// `StreamPlan.span` from the frame's beginning: of the first entry alone, and of all it has bytes of.
    var start: Digest
    var all: Digest
    var entries: Int
    /// Of the frame's compressed bytes (`BlockSum`); older versions left none.
    var sum: UInt64?
  }

  /// The compressor and its settings: others make other bytes of the same content.
  var compressor: String
  var root: Descriptor
  var frameIndex: Descriptor
  /// As many as there are frames, or none where contents have no identity.
  var spans: [Span]
  /// Compressed images by the digest of what they were made of.
  var images: [String: Descriptor]
  /// Of the last erofs image; none where contents have no identity.
  var erofs: KnownErofs.Record?
}

/// The records in a state directory: `cache/build-HEX.json`, one for each source.
struct BuildRecords: Sendable {
  private let store: ContentStore
  private let own: String
  private var directory: String { store.directory + "/cache" }

  private static let countLimit = 16
  /// In bytes: a million frames have less.
  private static let sizeLimit = 512 << 20

  /// - Parameter source: The path that a person gave.
  init(store: ContentStore, source: String) {
    self.store = store
    let resolved = realpath(source, nil)
    defer { free(resolved) }
    let path = resolved.map { String(cString: $0) } ?? source
    own = "build-\(Digest(of: Array(path.utf8)).hexadecimal.prefix(32)).json"
  }

  /// The last build's of this source.
  func ownRecord(compressor: String) -> BuildRecord? { read(own, compressor) }

  /// Those of other sources, the newest first.
  func otherRecords(compressor: String) -> [BuildRecord] {
    newest().filter { $0 != own }.prefix(8).compactMap { read($0, compressor) }
  }

  /// Failing to leave one is no failure of the build.
  func save(_ record: BuildRecord) {
    guard let bytes = try? canonicalJSON(record) else { return }
    mkdir(directory, 0o700)
    let path = "\(directory)/\(own)"
    let temporary = "\(store.temporaryDirectory)/blob-record-\(getpid())-\(UInt64.random(in: 0...UInt64.max))"
    guard let file = FileDescriptor.open(temporary, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600),
      bytes.withUnsafeBytes({ file.writeAll($0) }), rename(temporary, path) == 0
    else {
      unlink(temporary)
      return
    }
    for name in newest().dropFirst(Self.countLimit) { unlink("\(directory)/\(name)") }
  }

  private func read(_ name: String, _ compressor: String) -> BuildRecord? {
    guard let bytes = try? readFile("\(directory)/\(name)", limit: Self.sizeLimit),
      let record = try? JSONDecoder().decode(BuildRecord.self, from: Data(bytes)), record.compressor == compressor
    else { return nil }
    return record
  }

  private func newest() -> [String] {
    Leftovers.names(in: directory).filter { $0.hasPrefix("build-") }.map { name -> (String, Int) in
      var status = stat()
      return (name, stat("\(directory)/\(name)", &status) == 0 ? status.st_mtim.tv_sec : 0)
    }.sorted { $0.1 > $1.1 }.map(\.0)
  }
}
