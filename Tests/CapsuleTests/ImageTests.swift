import Capsule
import CapsuleFormat
import Foundation
import TestSupport
import Testing

/// Images of containers, made and taken apart by the programs of others.
@Suite(.enabled(if: isRoot && isInstalled("umoci") && isInstalled("skopeo"))) struct ImageTests {
  let tree: SyntheticTree
  let state: TemporaryDirectory
  let store: ContentStore

  init() throws {
    tree = try SyntheticTree()
    state = try TemporaryDirectory()
    store = try ContentStore(directory: state.path)
    // A first layer with a whole root, then one of changes as a builder finds them, then one made by hand.
    try tree.directory.run(
      """
      mkdir -p tree/d/opaque/deep tree/d/gone tree/d/kept tree/opt
      for f in opaque/a opaque/deep/b gone/c kept/d file linked; do printf $f >tree/d/$f; done
      ln tree/d/linked tree/d/again; ln -s /usr/lib tree/d/to-lib; mkdir tree/d/becomes-file; touch tree/d/becomes-file/x
      printf x >tree/d/becomes-directory; printf capable >tree/d/capable; setfattr -n user.note -v one tree/d/capable
      touch -h -d '2020-02-03 04:05:06 UTC' tree/d/* tree/d
      umoci init --layout image >&2; umoci new --image image:test >&2
      umoci unpack --image image:test bundle >&2
      cp -a tree/. bundle/rootfs/; umoci repack --image image:test bundle >&2; rm -rf bundle
      umoci unpack --image image:test bundle >&2
      cd bundle/rootfs
      rm -r d/gone d/becomes-file; printf now >d/becomes-file; rm d/becomes-directory; mkdir d/becomes-directory
      printf in >d/becomes-directory/y; printf changed >d/file; setfattr -n user.note -v two d/capable; chmod 700 d/kept
      ln d/linked d/third; rm d/again
      cd ../..; umoci repack --image image:test bundle >&2; rm -rf bundle
      mkdir -p hand/d/opaque hand/d/to-lib hand/d/late hand/d
      printf new >hand/d/opaque/new; touch hand/d/opaque/.wh..wh..opq hand/d/.wh.file hand/d/.wh.absent
      touch -d '2021-01-01 UTC' hand/d/opaque/new
      printf hand >hand/d/late/f
      tar -C hand -cf layer.tar --no-recursion --owner=0 --group=0 d/opaque/new d/opaque d/opaque/.wh..wh..opq \\
        d/.wh.file d/.wh.absent d/late/f
      mkdir links; cd links; mkdir d usr; touch d/linked; ln d/linked usr/linked; tar -cf l.tar d/linked usr/linked; cd ..
      tar -f links/l.tar --delete d/linked; tar -A -f layer.tar links/l.tar
      # Times of directories that change without an entry of their own are the unpacking program's affair.
      tar -C hand -rf layer.tar --no-recursion --owner=0 --group=0 d d/late
      umoci raw add-layer --image image:test layer.tar >&2
      umoci unpack --image image:test judged >&2
      """)
  }

  var directory: String { tree.directory.path }

  func request(_ source: String) -> BuildRequest {
    BuildRequest(source: source, nodeExecutable: "\(directory)/perseid-node", busybox: "\(directory)/busybox")
  }

  func build(_ source: String) async throws -> StoredCapsule {
    try await CapsuleBuilder(store: store).build(request(source))
  }

  func failure(_ source: String) async -> CapsuleError? {
    do { _ = try await build(source) } catch { return error as? CapsuleError }
    return nil
  }

  /// What is in a capsule's root, in the words of tar.
  func listing(_ capsule: StoredCapsule) throws -> String {
    try state.run(
      "zstd -dcq <'\(store.path(of: capsule.rootFileSystem.digest))' | tar --full-time --numeric-owner -tvf - "
        + "| sed 's/  */ /g'")
  }

  @Test func `layers become the tree that umoci unpacks them to, byte for byte`() async throws {
    let judged = try await build("\(directory)/judged/rootfs")
    let list = try listing(judged)
    // The judge itself has seen what is to be seen.
    for name in ["d/opaque/new", "d/becomes-directory/y", "d/third", "usr/linked", "d/late/f"] {
      #expect(list.contains(name))
    }
    for name in ["d/opaque/a", "d/gone", "d/becomes-file/x", " d/file\n", "d/again", ".wh."] {
      #expect(!list.contains(name))
    }
    let image = try await build("\(directory)/image")
    let (own, others) = (Set(try listing(image).split(separator: "\n")), Set(list.split(separator: "\n")))
    #expect(own.symmetricDifference(others).sorted() == [])
    #expect(image.rootFileSystem.digest == judged.rootFileSystem.digest)
    #expect(image.digest == judged.digest)
  }

  @Test func `archives of the image, and layers of every compression, give the same capsule`() async throws {
    let expected = try await build("\(directory)/image").digest
    try tree.directory.run(
      """
      skopeo copy -q oci:image:test oci-archive:oci.tar
      skopeo copy -q oci:image:test docker-archive:docker.tar:acme/test:1
      skopeo copy -q --dest-compress --dest-compress-format zstd oci:image:test oci:zstd-image:test
      skopeo copy -q --dest-decompress oci:image:test dir:plain 2>/dev/null || true
      """)
    for source in [
      "oci.tar", "docker.tar", "zstd-image",
    ] { #expect(try await build("\(directory)/\(source)").digest == expected, "\(source)") }
    #expect(try await build("oci:\(directory)/image:test").digest == expected)
    #expect(try await build("docker-archive:\(directory)/docker.tar:acme/test:1").digest == expected)
  }

  @Test func `of several images the one that is named is taken, and of several platforms ours`() async throws {
    try tree.directory.run(
      """
      umoci tag --image image:test other; umoci config --image image:other --config.env A=b
      """)
    let several = try #require(await failure("\(directory)/image"))
    #expect(several.description.contains("several images: other, test"), "\(several)")
    #expect(several.description.contains("oci:\(directory)/image:NAME"))
    let expected = try await build("oci:\(directory)/image:test").digest
    #expect(try await build("oci:\(directory)/image:other").digest == expected)
    let none = try #require(await failure("oci:\(directory)/image:none"))
    #expect(none.description.contains("it has no image 'none'; there are other, test"), "\(none)")

    try tree.directory.run("umoci config --image image:other --architecture arm64")
    let wrong = try #require(await failure("oci:\(directory)/image:other"))
    #expect(wrong.description.contains("for linux/arm64, and capsules made here are for linux/amd64"), "\(wrong)")
    // An index of both, as registries have them.
    try tree.directory.run(
      """
      perl -0pi -e 's/("digest":"[^"]*","size":\\d+),"annotations":\\{"org.opencontainers.image.ref.name":"other"\\}/$1,"platform":{"architecture":"arm64","os":"linux"}/;
        s/("digest":"[^"]*","size":\\d+),"annotations":\\{"org.opencontainers.image.ref.name":"test"\\}/$1,"platform":{"architecture":"amd64","os":"linux"}/' image/index.json
      """)
    #expect(try await build("\(directory)/image").digest == expected)
  }

  @Test func `nothing is believed that a digest does not prove`() async throws {
    try tree.directory.run("cp -a image good")
    func damage(_ script: String) async throws -> String {
      try tree.directory.run(
        "rm -rf image; cp -a good image; cd image; manifest=$(grep -o 'sha256:[0-9a-f]*' index.json | cut -c8-); layer=$(grep -o 'sha256:[0-9a-f]*' blobs/sha256/$manifest | tail -n 1 | cut -c8-); config=$(grep -o 'sha256:[0-9a-f]*' blobs/sha256/$manifest | head -n 1 | cut -c8-); \(script)"
      )
      return await failure("\(directory)/image")?.description ?? "nothing"
    }
    #expect(
      try await damage("printf X | dd of=blobs/sha256/$layer bs=1 seek=100 conv=notrunc 2>&1")
        .contains("is not what its digest says"))
    #expect(try await damage("truncate -s -1 blobs/sha256/$layer").contains("bytes instead of"))
    #expect(try await damage("rm blobs/sha256/$layer").contains("is missing"))
    #expect(try await damage("sed -i 's/}$/ }/' blobs/sha256/$manifest").contains("bytes instead of"))
    #expect(
      try await damage("tr a b <blobs/sha256/$config >c; mv c blobs/sha256/$config")
        .contains("its configuration is not what the digest"))
    #expect(try await damage("echo '{}' >index.json").contains("its index.json cannot be read"))
    #expect(try state.run("find blobs tmp -type f") == "")
  }
}
