import Capsule
import CapsuleFormat
import Foundation
import TestSupport
import Testing

@Suite struct CapsuleBuilderTests {
  let tree: SyntheticTree
  let state: TemporaryDirectory
  let store: ContentStore

  init() throws {
    tree = try SyntheticTree()
    state = try TemporaryDirectory()
    store = try ContentStore(directory: state.path)
  }

  func request(_ source: String? = nil, name: String? = nil) -> BuildRequest {
    BuildRequest(
      source: source ?? tree.source, name: name, nodeExecutable: "\(tree.directory.path)/perseid-node",
      busybox: "\(tree.directory.path)/busybox")
  }

  func build(_ source: String? = nil, name: String? = nil) async throws -> StoredCapsule {
    try await CapsuleBuilder(store: store).build(request(source, name: name))
  }

  func failure(_ source: String? = nil, name: String? = nil) async -> CapsuleError? {
    do { _ = try await build(source, name: name) } catch { return error as? CapsuleError }
    return nil
  }

  /// Every file of the store, finished or not.
  var files: [String] {
    get throws { try state.run("find blobs tmp -type f").split(separator: "\n").map(String.init) }
  }

  func image(_ descriptor: Descriptor) throws -> [CPIOEntry] {
    let blob = try store.read(descriptor.digest, limit: 1 << 24)
    var bytes: [UInt8] = []
    var decompressor = try ZstdStreamDecompressor()
    let compressed = Array(blob.reversed().drop { $0 == 0 }.reversed())
    try compressed.withUnsafeBytes { try decompressor.decompress($0) { bytes += $0 } }
    #expect(blob.count.isMultiple(of: 4))
    return try CPIOEntry.read(bytes)
  }

  @Test func `a directory becomes a capsule that names all its parts`() async throws {
    let capsule = try await build()
    #expect(capsule.config.name == "acme-1.2")
    #expect(capsule.config.kernelRelease == SyntheticTree.release)
    #expect(capsule.config.architecture == "amd64")
    #expect(capsule.config.operatingSystem == "Acme 1.2")
    #expect(try store.read(capsule.kernel.digest, limit: 100) == Array("kernel-image".utf8))
    let index = try capsule.frames(from: store)
    #expect(index.compressedLength == UInt64(capsule.rootFileSystem.size))
    #expect(index.uncompressedLength == UInt64(capsule.config.rootBytes))
    #expect(try StoredCapsule.load(capsule.digest, from: store) == capsule)
    #expect(try files.allSatisfy { $0.hasPrefix("blobs/") })
    let manifest = String(decoding: try store.read(capsule.digest, limit: 1 << 20), as: UTF8.self)
    #expect(manifest.hasPrefix(#"{"artifactType":"application/vnd.perseid.capsule.v1","config":{"digest":"sha256:"#))
  }

  @Test(.enabled(if: isInstalled("zstd"))) func `the root blob is what zstd and tar read`() async throws {
    let capsule = try await build()
    let listing = try state.run("zstd -dcq <'\(store.path(of: capsule.rootFileSystem.digest))' | tar -tf -")
    let lines = listing.split(separator: "\n")
    #expect(lines.count == Int(capsule.config.rootEntries))
    #expect(lines.first == "./")
    #expect(lines.contains("usr/bin/second"))
  }

  @Test(.enabled(if: isRoot && isInstalled("zstd") && isInstalled("setfacl")), arguments: ["tar", "bsdtar"])
  func `unpacked by another program the root equals the tree it was made of`(_ program: String) async throws {
    guard isInstalled(program) else { return }
    try tree.directory.run(
      """
      mkdir -p tree/d/sub tree/d/dev tree/d-x; touch tree/d/file tree/d-x/file tree/d/sub/file
      mknod tree/d/dev/null c 1 3; mknod tree/d/dev/disk b 8 17; mkfifo tree/d/pipe
      ln -s '../no where' tree/d/link; ln tree/d/file tree/d-x/again
      chown -h 1000:3000000 tree/d/link tree/d/file; chmod 6751 tree/d-x/file
      setfacl -m u:1234:rw tree/d/file; setfacl -d -m g:99:rx tree/d/sub
      setfattr -n trusted.perseid -v 0x00ff tree/d; cp /bin/true tree/d/capable; setcap cap_net_raw+ep tree/d/capable
      head -c 5000000 /dev/urandom >tree/d/big; touch "tree/d/$(printf 'n\\303\\244me')"
      touch "tree/d/$(printf 'by\\377te')" 2>/dev/null || true
      find tree -exec touch -h -d '2021-03-04 05:06:07.123456789 UTC' {} +
      """)
    let capsule = try await build()
    let blob = store.path(of: capsule.rootFileSystem.digest)
    let options = program == "tar" ? "--xattrs --xattrs-include='*'" : "--xattrs"
    let listing = """
      find . -printf '%P|%y|%m|%U|%G|%T@|%l|%n\\n' | sort
      find . -type f -size +0 -exec sha256sum {} + | sort; find . '(' -type c -o -type b ')' -exec stat -c '%n %t %T' {} +
      getfattr -R -h -d -e hex -m - . 2>&1 | sort
      """
    try state.run("mkdir out; zstd -dcq <'\(blob)' | \(program) \(options) --numeric-owner -C out -xpf -")
    let unpacked = try state.run("cd out\n\(listing)")
    let original = try tree.directory.run("cd tree\n\(listing)")
    var difference = Set(unpacked.split(separator: "\n")).symmetricDifference(original.split(separator: "\n"))
    if program == "bsdtar" {
      // It leaves the time of the directory it unpacks into, and takes ACLs in a text form of its own only.
      difference = difference.filter { !$0.hasPrefix("|d|") && !$0.hasPrefix("system.posix_acl") && !$0.hasPrefix("#") }
    }
    #expect(difference.sorted() == [])
    #expect(original.contains("security.capability") && original.contains("posix_acl_default"))
  }

  @Test func `each frame alone has the digests of the index`() async throws {
    try tree.directory.run("head -c 9000000 /dev/urandom >tree/usr/large")
    let capsule = try await build()
    let blob = try store.read(capsule.rootFileSystem.digest, limit: 1 << 26)
    let frames = try capsule.frames(from: store).frames
    #expect(frames.count > 3)
    var stream: [UInt8] = []
    for frame in frames {
      let stored = Array(blob[Int(frame.offset)..<Int(frame.offset) + Int(frame.compressedLength)])
      #expect(Digest(of: stored) == frame.compressedDigest)
      let plain = try ZstdDecompressor().decompress(stored, length: Int(frame.uncompressedLength))
      #expect(Digest(of: plain) == frame.uncompressedDigest)
      stream += plain
    }
    var sink = PathSink()
    var reader = TarReader()
    try reader.consume(stream, into: &sink)
    try reader.finish()
    #expect(sink.paths.count == Int(capsule.config.rootEntries))
    #expect(sink.paths == sink.paths.sorted())
  }

  @Test(arguments: ["cat", "gzip -c", "xz -c", "zstd -qc", "bzip2 -c"])
  func `an archive gives the same capsule as the directory, however packed and sorted`(_ pack: String) async throws {
    guard isInstalled(String(pack.prefix { $0 != " " })) else { return }
    try tree.directory.run(
      """
      find tree -mindepth 1 -printf '%P\\n' | sort -r >names
      tar --format=posix --sort=none --no-recursion --numeric-owner --xattrs --xattrs-include='*' \
        -C tree -cf t.tar . -T names
      \(pack) <t.tar >packed
      """)
    let fromDirectory = try await build()
    let fromArchive = try await build("\(tree.directory.path)/packed")
    #expect(fromArchive.digest == fromDirectory.digest)
  }

  @Test func `the initramfs has the wanted modules with all that they need, and nothing else`() async throws {
    let capsule = try await build()
    let entries = try image(capsule.initramfs)
    let root = "lib/modules/\(SyntheticTree.release)"
    let modules = entries.map(\.path).filter { $0.hasSuffix(".ko") }
    #expect(
      Set(modules) == [
        "\(root)/kernel/drivers/net/ethernet/acme/acme-net.ko", "\(root)/kernel/drivers/net/phy/libphy.ko",
        "\(root)/kernel/lib/acme_core.ko", "\(root)/kernel/fs/overlayfs/overlay.ko",
        "\(root)/kernel/crypto/sum_generic.ko",
      ])
    func text(_ path: String) -> String? {
      entries.first { $0.path == path }.map { String(decoding: $0.content, as: UTF8.self) }
    }
    let dependencies = try #require(text("\(root)/modules.dep"))
    #expect(!dependencies.contains("beep"))
    #expect(
      dependencies.contains(
        "kernel/drivers/net/ethernet/acme/acme-net.ko: kernel/drivers/net/phy/libphy.ko kernel/lib/acme_core.ko\n"))
    #expect(
      text("\(root)/modules.alias") == "alias pci:v00001AC3d*sv*sd*bc*sc*i* acme_net\nalias crypto-sum sum_generic\n")
    #expect(text("\(root)/modules.softdep") == "softdep overlay pre: crypto-sum missing\n")
    #expect(text("\(root)/modules.builtin") == "kernel/fs/proc/proc.ko\n")
    #expect(text("lib/firmware/acme/card.bin") == "blob")
    #expect(text("bin/sh") == "busybox")
    #expect(entries.first { $0.path == "bin/busybox" }?.mode == 0o100755)
  }

  @Test(arguments: ["xz", "zstd", "gzip"])
  func `compressed modules and firmware give the same initramfs as plain ones`(_ program: String) async throws {
    guard isInstalled(program) else { return }
    let plain = try await build()
    let suffix = ["xz": "xz", "zstd": "zst", "gzip": "gz"][program] ?? ""
    try tree.directory.run(
      """
      find tree/usr/lib/modules -name '*.ko' -exec \(program) -q {} +
      find tree/usr/lib/modules -name '*.ko' -delete
      sed -i 's/\\.ko/.ko.\(suffix)/g' tree/usr/lib/modules/*/modules.dep
      \(program == "gzip" ? "" : "\(program) -q tree/usr/lib/firmware/acme/card.bin; rm -f tree/usr/lib/firmware/acme/card.bin")
      """)
    #expect(try await build().initramfs == plain.initramfs)
  }

  @Test func `stage 1 is an image of its own, with what a static program needs before main`() async throws {
    let entries = try image(try await build().stage1)
    let console = try #require(entries.first { $0.path == "dev/console" })
    #expect(console.mode == 0o020600 && console.major == 5 && console.minor == 1)
    let link = try #require(entries.first { $0.path == "proc/self/exe" })
    #expect(Array(link.content) == Array("/init".utf8))
    #expect(entries.first { $0.path == "init" }?.mode == 0o100755)
    let directories = Set(entries.filter { $0.mode == 0o040755 }.map(\.path))
    #expect(directories == ["dev", "newroot", "proc", "proc/self", "run", "sys", "tmp"])
  }

  @Test(.enabled(if: isInstalled("depmod"))) func `modules that nobody ran depmod for are indexed now`() async throws {
    let before = try await build()
    try tree.directory.run("rm tree/usr/lib/modules/*/modules.dep")
    let capsule = try await build()
    #expect(capsule.digest != before.digest)
    let modules = try image(capsule.initramfs).map(\.path).filter { $0.hasSuffix(".ko") }
    // The synthetic modules have no symbols, so nothing depends on anything.
    #expect(modules.contains { $0.hasSuffix("/acme-net.ko") })
    #expect(modules.contains { $0.hasSuffix("/overlay.ko") })
    #expect(try files.allSatisfy { $0.hasPrefix("blobs/") })
  }

  @Test func `of two kernels the newest one with modules is taken, and that is said`() async throws {
    try tree.directory.run(
      """
      cp -a tree/usr/lib/modules/\(SyntheticTree.release) tree/usr/lib/modules/6.10.0-test
      printf newer >tree/usr/lib/modules/6.10.0-test/vmlinuz; printf alone >tree/boot/vmlinuz-7.0.0
      """)
    let notes = Notes()
    let capsule = try await CapsuleBuilder(store: store).build(request()) { progress in
      if let note = progress.note { notes.add(note) }
    }
    #expect(capsule.config.kernelRelease == "6.10.0-test")
    #expect(notes.all == ["Several kernels in the tree: taking 6.10.0-test, leaving 6.6.1-test, 7.0.0"])
  }

  @Test func `a tree without /usr merge is understood`() async throws {
    let other = try SyntheticTree(mergedUsr: false)
    #expect(try await build(other.source).config.kernelRelease == SyntheticTree.release)
  }
}

struct PathSink: TarSink {
  var paths: [TreePath] = []
  mutating func entry(_ entry: TarEntry) throws { paths.append(entry.path) }
  mutating func content(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws {}
  mutating func endEntry() throws {}
}
