import CapsuleFormat
import Foundation
import TestSupport
import Testing

/// GNU tar and bsdtar write what we read, and read what we write.
@Suite struct TarInteropTests {
  /// A tree with everything an ordinary user can make.
  static let makeTree = """
    mkdir -p tree/dir tree/\(String(repeating: "long-name/", count: 15))
    cd tree
    printf hello >dir/file; ln dir/file hard; ln -s /nowhere/../x link; mkfifo pipe
    printf x >\(String(repeating: "long-name/", count: 15))x
    ln -s \(String(repeating: "target/", count: 30)) long-link
    touch -d '2001-02-03 04:05:06.789012345 UTC' dir/file
    touch -d '1969-12-31 23:59:58.5 UTC' link -h
    truncate -s 3000000 sparse; printf middle | dd of=sparse bs=1 seek=1048576 conv=notrunc status=none
    printf end | dd of=sparse bs=1 seek=2500000 conv=notrunc status=none
    """

  func check(_ sink: RecordingSink, fraction: Bool) throws {
    #expect(sink.contents["dir/file"] == Array("hello".utf8) || sink.contents["hard"] == Array("hello".utf8))
    let links = sink.entries.filter { if case .hardLink = $0.kind { true } else { false } }
    #expect(links.count == 1)
    #expect(try #require(sink.entry(at: "link")).kind == .symbolicLink(target: Array("/nowhere/../x".utf8)))
    #expect(try #require(sink.entry(at: "pipe")).kind == .fifo)
    #expect(sink.contents[String(repeating: "long-name/", count: 15) + "x"] == Array("x".utf8))
    let target = Array(String(repeating: "target/", count: 30).utf8)
    #expect(try #require(sink.entry(at: "long-link")).kind == .symbolicLink(target: target))
    let time = try #require(sink.entries.first { $0.kind == .file && $0.size == 5 }).modified
    #expect(time.seconds == 981_173_106)
    if fraction { #expect(time.nanoseconds == 789_012_345) }
    let sparse = try #require(sink.contents["sparse"])
    #expect(sparse.count == 3_000_000)
    #expect(Array(sparse[1_048_576..<1_048_582]) == Array("middle".utf8))
    #expect(Array(sparse[2_500_000..<2_500_003]) == Array("end".utf8))
    #expect(sparse.reduce(0) { $0 + Int($1) } == "middleend".utf8.reduce(0) { $0 + Int($1) })
  }

  @Test(arguments: [
    "--format=gnu", "--format=gnu --sparse", "--format=posix", "--format=posix --sparse --sparse-version=0.0",
    "--format=posix --sparse --sparse-version=0.1", "--format=posix --sparse --sparse-version=1.0",
  ])
  func `archives of GNU tar are read in every format`(_ options: String) throws {
    let directory = try TemporaryDirectory()
    try directory.run(Self.makeTree)
    try directory.run("tar \(options) -C tree -cf tree.tar .")
    let sink = try readArchive(try directory.read("tree.tar"), pieces: 10_000)
    try check(sink, fraction: options.contains("posix"))
    if options.contains("--sparse") { #expect(sink.handedBytes < 100_000) }
  }

  @Test(.enabled(if: isInstalled("bsdtar")), arguments: ["pax", "gnutar"])
  func `archives of bsdtar are read`(_ format: String) throws {
    let directory = try TemporaryDirectory()
    try directory.run(Self.makeTree)
    try directory.run("bsdtar --format \(format) -C tree -cf tree.tar .")
    try check(try readArchive(try directory.read("tree.tar"), pieces: 777), fraction: format == "pax")
  }

  @Test func `old sparse headers with many segments are read`() throws {
    let directory = try TemporaryDirectory()
    try directory.run(
      """
      mkdir tree; cd tree; truncate -s 8000000 many
      for i in $(seq 0 59); do printf "part$i" | dd of=many bs=1 seek=$((i * 131072)) conv=notrunc status=none; done
      cd ..; tar --format=gnu --sparse -C tree -cf tree.tar many; cp tree/many many
      """)
    let sink = try readArchive(try directory.read("tree.tar"), pieces: 333)
    #expect(sink.contents["many"] == (try directory.read("many")))
    #expect(sink.handedBytes < 1_000_000)
  }

  @Test(.enabled(if: isRoot), arguments: ["tar", "bsdtar"])
  func `what we write is unpacked the same by GNU tar and bsdtar`(_ program: String) throws {
    guard isInstalled(program) else { return }
    let directory = try TemporaryDirectory()
    // The largest owner stands for "none" in the kernel, and the far time is more than file systems keep.
    let entries = TarRoundTripTests.entries.filter { entry, _ in
      entry.userID != .max && entry.modified.seconds < 1 << 34 && entry.extendedAttributes.isEmpty
    }
    try directory.write(try archive(entries), to: "tree.tar")
    try directory.run("mkdir out; \(program) --numeric-owner -C out -xpf tree.tar")
    let format = "%n|%f|%u|%g|%t,%T|%h|%.9Y"
    func status(_ name: String) throws -> String { try directory.run("cd out; stat -c '\(format)' '\(name)'") }
    #expect(try status("file") == "file|89ed|1000|100|0,0|2|0.000000000\n")
    #expect(try status("null").hasPrefix("null|21a4|0|0|1,3|"))
    #expect(try status("disk").hasPrefix("disk|61a4|0|0|103,f4240|"))
    #expect(try status("pipe").hasPrefix("pipe|11a4|"))
    #expect(try status("now").hasSuffix("|1700000000.120000000\n"))
    #expect(try status("nanosecond").hasSuffix("|1.000000001\n"))
    #expect(try directory.run("readlink out/link") == "/etc/../file\n")
    #expect(try directory.run("cat out/hard") == "hello")
    #expect(try directory.run("cd out; stat -c %i file hard | uniq | wc -l") == "1\n")
    #expect(try directory.run("stat -c %a out") == "1777\n")
  }

  @Test(.enabled(if: isInstalled("setfattr") && isInstalled("getfattr")))
  func `extended attributes go through GNU tar both ways`() throws {
    let directory = try TemporaryDirectory()
    do {
      try directory.run("mkdir tree; echo x >tree/file; setfattr -n user.perseid -v 'a=b\\012c' tree/file")
    } catch {
      // The file system under /tmp does not keep user attributes.
      return
    }
    try directory.run("tar --xattrs --xattrs-include='*' -C tree -cf tree.tar .")
    let sink = try readArchive(try directory.read("tree.tar"))
    let entry = try #require(sink.entry(at: "file"))
    #expect(entry.extendedAttributes.map(\.name) == [Array("user.perseid".utf8)])
    let content = try #require(sink.contents["file"])
    try directory.write(try archive([(entry, content)]), to: "ours.tar")
    try directory.run("mkdir out; tar --xattrs --xattrs-include='*' -C out -xf ours.tar")
    let before = try directory.run("cd tree; getfattr -d -e hex file")
    #expect(try directory.run("cd out; getfattr -d -e hex file") == before)
  }
}
