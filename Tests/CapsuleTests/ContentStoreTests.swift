import Capsule
import CapsuleFormat
import Foundation
import TestSupport
import Testing

@Suite struct ContentStoreTests {
  let directory: TemporaryDirectory
  let store: ContentStore

  init() throws {
    directory = try TemporaryDirectory()
    store = try ContentStore(directory: directory.path)
  }

  var files: [String] {
    get throws { try directory.run("find blobs tmp -type f | sort").split(separator: "\n").map(String.init) }
  }

  @Test func `a blob is found under its digest, read-only, and read back`() throws {
    let blob = try store.write(Array("hello".utf8), mediaType: "text/plain")
    #expect(
      blob.digest.description == "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824")
    #expect(blob.size == 5)
    #expect(store.contains(blob.digest))
    #expect(try store.size(of: blob.digest) == 5)
    #expect(try store.read(blob.digest, limit: 5) == Array("hello".utf8))
    #expect(try files == ["blobs/sha256/\(blob.digest.hexadecimal)"])
    #expect(try directory.run("stat -c %a '\(store.path(of: blob.digest))'") == "444\n")
  }

  @Test func `a writer that is let go of leaves nothing`() throws {
    do {
      let writer = try store.writer()
      try writer.write([1, 2, 3])
      #expect(try files.count == 1)
    }
    #expect(try files == [])
  }

  @Test func `the same content is kept once`() throws {
    let first = try store.write([1], mediaType: "a")
    let inode = try directory.run("stat -c %i '\(store.path(of: first.digest))'")
    #expect(try store.write([1], mediaType: "a") == first)
    #expect(try directory.run("stat -c %i '\(store.path(of: first.digest))'") == inode)
    #expect(try files.count == 1)
  }

  @Test func `a damaged, oversized or missing blob is refused`() throws {
    let blob = try store.write([1, 2, 3], mediaType: "a")
    #expect { try store.read(blob.digest, limit: 2) } throws: { ($0 as? CapsuleError)?.code == .damagedBlob }
    try directory.run("chmod u+w blobs/sha256/*; printf xyz >'\(store.path(of: blob.digest))'")
    #expect { try store.read(blob.digest, limit: 3) } throws: { ($0 as? CapsuleError)?.code == .damagedBlob }
    #expect { try store.read(Digest(of: [9]), limit: 3) } throws: { ($0 as? CapsuleError)?.code == .missingBlob }
  }

  @Test func `what a killed process left is removed at the next start, and nothing that is in use`() throws {
    let writer = try store.writer()
    try writer.write([1])
    let inUse = try #require(try files.first)
    try directory.run(
      """
      mkdir -p tmp/build-1-1/deep; touch tmp/blob-1-1 tmp/blob-1-2 tmp/build-1-1/deep/file tmp/other
      touch "$(printf 'tmp/build-1-1/caf\\351')"; mkdir "$(printf 'tmp/build-1-1/deep/\\377\\200')"
      touch -d '2 hours ago' tmp/*
      touch tmp/blob-1-2
      """)
    _ = try ContentStore(directory: directory.path)
    #expect(try files == ([inUse, "tmp/blob-1-2", "tmp/other"]).sorted())
    #expect(try directory.run("ls tmp | grep build || true") == "")
    _ = try writer.commit(mediaType: "a")
  }
}
