import Capsule
import CapsuleFormat
import Foundation
import TestSupport
import Testing

@Suite struct LifeTests {
  let tree: SyntheticTree
  let state: TemporaryDirectory
  let store: ContentStore

  init() throws {
    tree = try SyntheticTree()
    state = try TemporaryDirectory()
    store = try ContentStore(directory: state.path)
  }

  func build() async throws -> StoredCapsule {
    let request = BuildRequest(
      source: tree.source, nodeExecutable: "\(tree.directory.path)/perseid-node",
      busybox: "\(tree.directory.path)/busybox")
    return try await CapsuleBuilder(store: store).build(request)
  }

  func overwrite(_ digest: Digest, at offset: Int, with byte: UInt8 = 0x5A) throws {
    try state.run("chmod u+w '\(store.path(of: digest))'")
    let file = try FileHandle(forUpdating: URL(fileURLWithPath: store.path(of: digest)))
    try file.seek(toOffset: UInt64(offset))
    let old = try #require(try file.read(upToCount: 1)?.first)
    try file.seek(toOffset: UInt64(offset))
    try file.write(contentsOf: Data([old ^ byte]))
    try file.close()
  }

  @Test func `a whole capsule is found whole, down to the tree it unpacks to`() async throws {
    try tree.directory.run(
      """
      mkdir -p tree/d tree/dev; ln -s nowhere tree/d/link; touch -d '2021-03-04 05:06:07.125 UTC' tree/d/file tree/d
      if [ $(id -u) = 0 ]; then
        mknod tree/dev/null c 1 3; mkfifo tree/d/pipe; chown 12:34 tree/d/file; chmod 4711 tree/d/file
        setfattr -n user.note -v text tree/d/file || true
      fi
      """)
    let capsule = try await build()
    let found = try await Verification.of(capsule.digest, in: store, unpacks: isRoot && isInstalled("zstd"))
    #expect(found.problems == [])
    #expect(found.isUnpacked == (isRoot && isInstalled("zstd")))
    #expect(Int64(found.entries) == capsule.config.rootEntries)
    #expect(found.blobs == capsule.manifest.layers.count + 2)
    #expect(try state.run("ls tmp") == "")
  }

  @Test func `a damaged blob is named, and the frame that is hurt`() async throws {
    let capsule = try await build()
    try overwrite(capsule.rootFileSystem.digest, at: Int(capsule.rootFileSystem.size) / 2)
    let found = try await Verification.of(capsule.digest, in: store, unpacks: false)
    #expect(found.problems.contains { $0.contains(capsule.rootFileSystem.digest.description) })
    #expect(found.problems.contains { $0.hasPrefix("frame 0 of the root file system") }, "\(found.problems)")
  }

  @Test func `a missing or truncated blob, and a damaged manifest, are told`() async throws {
    let capsule = try await build()
    try state.run("rm -f '\(store.path(of: capsule.kernel.digest))'")
    try state.run(
      "f='\(store.path(of: capsule.initramfs.digest))'; chmod u+w \"$f\"; truncate -s 10 \"$f\""
    )
    let found = try await Verification.of(capsule.digest, in: store, unpacks: false)
    #expect(found.problems.contains { $0.contains(capsule.kernel.digest.description) && $0.hasSuffix("is missing") })
    #expect(found.problems.contains { $0.contains("has 10 bytes instead of") })
    try overwrite(capsule.digest, at: 5)
    #expect(
      try await Verification.of(capsule.digest, in: store, unpacks: false).problems.first?.hasPrefix("the manifest")
        == true)
  }

  @Test func `the difference of two builds tells packages by version, and files by what changed`() async throws {
    func status(_ version: String, _ more: String = "") throws {
      try tree.directory.run("mkdir -p tree/var/lib/dpkg")
      let text = """
        Package: base
        Status: install ok installed
        Architecture: all
        Version: \(version)
        Description: a package
         of more lines: Version: 9

        Package: gone
        Status: deinstall ok config-files
        Version: 7
        \(more)
        """
      try tree.directory.write(Array(text.utf8), to: "tree/var/lib/dpkg/status")
    }
    try status("1.0-1")
    try tree.directory.run("mkdir -p tree/srv; printf a >tree/srv/a; printf b >tree/srv/b; printf c >tree/srv/c")
    let first = try await build()
    try status(
      "1.1-1", "\nPackage: new\nStatus: install ok installed\nArchitecture: amd64\nMulti-Arch: same\nVersion: 2\n")
    try tree.directory.run("rm tree/srv/a; chmod 600 tree/srv/b; printf d >tree/srv/c; printf n >tree/srv/n")
    let second = try await build()
    let difference = try await CapsuleDifference.between(first.digest, second.digest, in: store)
    #expect(
      difference.packages == [
        CapsuleDifference.Package(name: "base", before: "1.0-1", after: "1.1-1"),
        CapsuleDifference.Package(name: "new:amd64", before: nil, after: "2"),
      ])
    #expect(difference.added == ["srv/n"])
    #expect(difference.removed == ["srv/a"])
    #expect(
      difference.changed == [
        CapsuleDifference.File(path: "srv/b", what: ["mode"]), CapsuleDifference.File(path: "srv/c", what: ["content"]),
        CapsuleDifference.File(path: "var/lib/dpkg/status", what: ["content"]),
      ])
    #expect(difference.newFrameBytes > 0)
    let same = try await CapsuleDifference.between(first.digest, first.digest, in: store)
    #expect(same.isEmpty && same.newFrameBytes == 0)
  }

  @Test(.enabled(if: isRoot && isInstalled("rpm")))
  func `packages of an rpm database are told by version`() async throws {
    try tree.directory.run(
      """
      mkdir -p tree/usr/lib/sysimage/rpm build
      cat >p.spec <<'END'
      Name: sample
      Version: 1.2
      Release: 3
      Summary: a sample
      License: none
      BuildArch: noarch
      %description
      a sample
      %files
      END
      rpm --dbpath $PWD/tree/usr/lib/sysimage/rpm --initdb
      rpmbuild -bb --define "_topdir $PWD/build" p.spec >log 2>&1 || { cat log; exit 1; }
      rpm --dbpath $PWD/tree/usr/lib/sysimage/rpm --nodeps --justdb -i build/RPMS/noarch/*.rpm
      """)
    let with = try await build()
    try tree.directory.run("rm -r tree/usr/lib/sysimage")
    let without = try await build()
    let difference = try await CapsuleDifference.between(without.digest, with.digest, in: store)
    #expect(difference.packages == [CapsuleDifference.Package(name: "sample.noarch", before: nil, after: "1.2-3")])
  }

  @Test func `unused blobs are removed, and nothing that a capsule which stays needs`() async throws {
    let kept = try await build()
    try tree.directory.run("printf other >tree/etc/other")
    let gone = try await build()
    let collected = try #require(try store.collect { [kept.digest] })
    #expect(collected.blobs > 0 && collected.bytes > 0)
    #expect(try await Verification.of(kept.digest, in: store, unpacks: false).problems == [])
    #expect(!store.contains(gone.digest))
    #expect(!store.contains(gone.rootFileSystem.digest))
    #expect(try store.collect { [kept.digest] }?.blobs == 0)
  }

  @Test func `nothing is removed while somebody holds the store, nor where a manifest that stays is damaged`()
    async throws
  {
    let capsule = try await build()
    do {
      let hold = try store.hold()
      let second = try store.hold()
      #expect(try store.collect { [] } == nil)
      withExtendedLifetime((hold, second)) {}
    }
    try overwrite(capsule.digest, at: 3)
    // A process that another test starts at this moment has the hold too, until it is what it is to be.
    let end = ContinuousClock.now + .seconds(120)
    #expect(throws: CapsuleError.self) {
      while try store.collect(keeping: { [capsule.digest] }) == nil, ContinuousClock.now < end {}
    }
    #expect(store.contains(capsule.rootFileSystem.digest))
    #expect(try store.collect { [] }?.blobs == capsule.manifest.layers.count + 2)
  }
}
