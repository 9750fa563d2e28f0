import CapsuleFormat
import Testing

@Suite struct TarRoundTripTests {
  static let entries: [(TarEntry, [UInt8])] = {
    func entry(_ text: String, _ kind: TarEntry.Kind, _ change: (inout TarEntry) -> Void = { _ in }) -> TarEntry {
      guard let path = TreePath(text) else { fatalError("a test names '\(text)'") }
      var entry = TarEntry(path: path, kind: kind, mode: 0o644)
      change(&entry)
      return entry
    }
    let long = String(repeating: "directory/", count: 20) + "file"
    guard let first = TreePath("file"), let longPath = TreePath(long) else { fatalError("test paths are good") }
    return [
      (entry(".", .directory) { $0.mode = 0o1777 }, []),
      (
        entry("file", .file) {
          $0.size = 5
          $0.mode = 0o4755
          $0.userID = 1000
          $0.groupID = 100
        }, Array("hello".utf8)
      ),
      (entry("empty", .file), []),
      (entry("block", .file) { $0.size = 512 }, [UInt8](repeating: 7, count: 512)),
      (entry("link", .symbolicLink(target: Array("/etc/../file".utf8))), []),
      (entry("long link", .symbolicLink(target: [UInt8](repeating: 0x61, count: 300))), []),
      (entry("hard", .hardLink(to: first)), []),
      (entry(long, .file) { $0.size = 3 }, [1, 2, 3]),
      (entry("hard to long", .hardLink(to: longPath)), []),
      (entry("null", .characterDevice(major: 1, minor: 3)), []),
      (entry("disk", .blockDevice(major: 259, minor: 1_000_000)), []),
      (entry("pipe", .fifo), []),
      (
        entry("large owner", .file) {
          $0.userID = .max
          $0.groupID = 3_000_000
        }, []
      ),
      (entry("now", .file) { $0.modified = Timestamp(seconds: 1_700_000_000, nanoseconds: 120_000_000) }, []),
      (entry("nanosecond", .file) { $0.modified = Timestamp(seconds: 1, nanoseconds: 1) }, []),
      (entry("before", .file) { $0.modified = Timestamp(seconds: -2, nanoseconds: 500_000_000) }, []),
      (entry("just before", .file) { $0.modified = Timestamp(seconds: -1, nanoseconds: 999_999_999) }, []),
      (entry("far", .file) { $0.modified = Timestamp(seconds: 1 << 34) }, []),
      (
        entry("attributes", .file) {
          $0.extendedAttributes = [
            ExtendedAttribute(name: Array("security.capability".utf8), value: [1, 0, 0, 2, 0, 10, 61, 0]),
            ExtendedAttribute(name: Array("user.empty".utf8), value: []),
            ExtendedAttribute(name: Array("user.large".utf8), value: [UInt8](repeating: 0xFE, count: 60000)),
          ]
        }, []
      ),
    ]
  }()

  @Test(arguments: [1, 7, 511, 512, 513, 4096, 1 << 20])
  func `entries read back as they were written, in pieces of any size`(_ pieces: Int) throws {
    let sink = try readArchive(try archive(Self.entries), pieces: pieces)
    #expect(sink.entries == Self.entries.map(\.0))
    for (entry, content) in Self.entries where entry.kind == .file {
      #expect(sink.contents["\(entry.path)"] == content)
    }
  }

  @Test func `a plain entry takes one block, and its bytes are those of ustar`() throws {
    let header = try TarWriter.header(
      of: TarEntry(path: try path("a/b"), kind: .directory, mode: 0o755, userID: 1, groupID: 2))
    #expect(header.count == 512)
    #expect(header.starts(with: Array("a/b/\0".utf8)))
    #expect(Array(header[100..<108]) == Array("0000755\0".utf8))
    #expect(Array(header[257..<265]) == Array("ustar\u{0}00".utf8))
    #expect(header[265..<329].allSatisfy { $0 == 0 })
  }

  @Test func `the order in which attributes are given does not matter`() throws {
    let (first, _) = try #require(Self.entries.last)
    var second = first
    second.extendedAttributes.reverse()
    #expect(try TarWriter.header(of: first) == TarWriter.header(of: second))
  }
}
