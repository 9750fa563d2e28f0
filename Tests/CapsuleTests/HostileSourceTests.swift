import Capsule
import CapsuleFormat
import Foundation
import TestSupport
import Testing

extension CapsuleBuilderTests {
  private func failure(_ source: String, limits: SourceLimits) async -> CapsuleError? {
    var request = request("\(tree.directory.path)/\(source)")
    request.limits = limits
    do { _ = try await CapsuleBuilder(store: store).build(request) } catch { return error as? CapsuleError }
    return nil
  }

  @Test(.enabled(if: isRoot)) func `devices outside of every dev are refused, and those inside are kept`() async throws
  {
    try tree.directory.run(
      "mkdir -p tree/dev tree/srv/jail/dev; mknod tree/dev/null c 1 3; mknod tree/srv/jail/dev/sda b 8 0")
    let capsule = try await build()
    #expect(capsule.config.rootEntries > 0)
    let before = try files
    for script in ["mknod tree/srv/disk b 8 0", "mknod tree/srv/deleted c 0 0"] {
      try tree.directory.run("\(script); tar -C tree -cf t.tar .")
      for source in [tree.source, "\(tree.directory.path)/t.tar"] {
        let failure = try #require(await failure(source))
        #expect(
          failure.description.contains("outside of every directory 'dev'") || failure.description.contains("overlay"))
      }
      try tree.directory.run("rm tree/srv/d*")
    }
    #expect(try files == before)
  }

  @Test func `an archive that unpacks to more than is allowed is refused before it has`() async throws {
    try tree.directory.run(
      """
      truncate -s 1100M tree/usr/zeros; tar -C tree -S -cf sparse.tar .; tar -C tree -c . | zstd -q -1 >bomb.tar.zst
      """)
    var limits = SourceLimits()
    for source in ["sparse.tar", "bomb.tar.zst"] {
      let bomb = try #require(await failure(source, limits: limits), "\(source)")
      #expect(bomb.code == .badArchive && bomb.description.contains("200 times as many"), "\(bomb)")
    }
    limits.expansion = nil
    limits.bytes = 1 << 20
    let large = try #require(await failure("sparse.tar", limits: limits))
    #expect(large.description.contains("more than the 1048576 bytes that are allowed"), "\(large)")
    limits.bytes = 1 << 40
    limits.entries = 10
    let many = try #require(await failure("sparse.tar", limits: limits))
    #expect(many.description.contains("the number of entries"), "\(many)")
    #expect(try files == [])
  }

  @Test func `of entries with one path the last one counts, and long names are kept`() async throws {
    let long = (1...12).map { String(repeating: "d\($0)", count: 60) }.joined(separator: "/")
    try tree.directory.run(
      """
      mkdir -p more/usr/bin "tree/\(long)"; printf x >"tree/\(long)/file"
      printf second >more/usr/bin/first; tar -C tree --format=gnu -cf t.tar .; tar -C more -rf t.tar ./usr/bin/first
      """)
    let capsule = try await build("\(tree.directory.path)/t.tar")
    try state.run("mkdir out; zstd -dcq <'\(store.path(of: capsule.rootFileSystem.digest))' | tar -C out -xf -")
    #expect(try state.run("cat out/usr/bin/first") == "second")
    #expect(try state.run("cat out/usr/bin/second") == "first")
    #expect(try state.run("cat 'out/\(long)/file'") == "x")
  }

  @Test(arguments: ["--format=gnu -S", "-S --sparse-version=0.0", "-S --sparse-version=0.1", "-S --sparse-version=1.0"])
  func `sparse files of every form are what they were`(options: String) async throws {
    try tree.directory.run(
      """
      truncate -s 20M tree/usr/sparse; printf middle | dd of=tree/usr/sparse bs=1 seek=9000000 conv=notrunc 2>/dev/null
      for i in $(seq 1 30); do printf $i | dd of=tree/usr/sparse bs=1 seek=$((i * 300000)) conv=notrunc 2>/dev/null; done
      touch -d '2020-01-01 UTC' tree/usr/sparse; tar \(options.contains("gnu") ? "" : "--format=posix") \(options) -C tree -cf t.tar .
      """)
    let capsule = try await build("\(tree.directory.path)/t.tar")
    let sum = try tree.directory.run("sha256sum <tree/usr/sparse")
    #expect(
      try state.run(
        "zstd -dcq <'\(store.path(of: capsule.rootFileSystem.digest))' | tar -xOf - usr/sparse | sha256sum") == sum)
  }

  @Test(.enabled(if: isRoot && isInstalled("setfacl") && isInstalled("bsdtar")))
  func `access control lists in text become those of the kernel`() async throws {
    try tree.directory.run(
      """
      printf 'root:x:0:0::/:/bin/sh\\nann:x:1234:1234::/:/bin/sh\\n' >tree/etc/passwd; printf 'staff:x:50:\\n' >tree/etc/group
      mkdir tree/d; touch tree/d/f
      setfacl -m u:1234:rw,u:77:r,g:50:rx tree/d/f; setfacl -d -m u:1234:rwx,o::- tree/d
      find tree -exec touch -h -d '2020-01-01 UTC' {} +
      tar -C tree --format=posix --xattrs --xattrs-include='*' -cf both.tar .
      tar -C tree --format=posix --acls --numeric-owner -cf gnu.tar .
      bsdtar -C tree --format pax --acls --no-xattrs -cf bsd.tar .
      """)
    let expected = try await build("\(tree.directory.path)/both.tar").rootFileSystem.digest
    #expect(try await build().rootFileSystem.digest == expected)
    #expect(try await build("\(tree.directory.path)/gnu.tar").rootFileSystem.digest == expected)
    #expect(try await build("\(tree.directory.path)/bsd.tar").rootFileSystem.digest == expected)
  }
}
