import CapsuleFormat
import Testing

@Suite struct TreePathTests {
  @Test(arguments: [
    ("./usr//bin/", "usr/bin"), ("./", "."), (".", "."), ("", "."), ("a/./b", "a/b"), ("...", "..."), ("a..", "a.."),
  ])
  func `paths of archives are brought into one form`(_ raw: String, _ expected: String) throws {
    #expect(try path(raw).description == expected)
  }

  @Test(arguments: ["/etc/passwd", "..", "../x", "a/../b", "a/..", "a\u{0}b"])
  func `paths that lead out of the tree are refused`(_ raw: String) {
    #expect { try path(raw) } throws: { error in
      if case TarError.unsafePath = error { true } else { false }
    }
  }

  @Test func `names and paths that Linux does not take are refused`() {
    #expect(throws: TarError.pathTooLong(bytes: 256)) { try path(String(repeating: "a", count: 256)) }
    let deep = String(repeating: "abc/", count: 1200)
    #expect(throws: TarError.pathTooLong(bytes: 4800)) { try path(deep) }
  }

  @Test func `a directory comes right before all that is in it, and names are ordered by bytes`() throws {
    let names = ["a/b", "a-b", "a", "ab", ".", "\u{E9}", "Z", "a/b/c", "a-b/c"]
    let sorted = try names.map(path).sorted().map(\.description)
    #expect(sorted == [".", "Z", "a", "a/b", "a/b/c", "a-b", "a-b/c", "ab", "\u{E9}"])
  }

  @Test func `parent and name take a path apart`() throws {
    let deep = try path("usr/lib/x")
    #expect(deep.parent == (try path("usr/lib")))
    #expect(Array(deep.name) == Array("x".utf8))
    #expect(try path("usr").parent == .root)
    #expect(TreePath.root.parent == .root)
    #expect(try TreePath.root.appending(name: "usr".utf8) == path("usr"))
    #expect(try deep.appending(name: "y".utf8) == path("usr/lib/x/y"))
  }
}
