import Capsule
import CapsuleFormat
import Foundation
import TestSupport
import Testing

/// The erofs image in a capsule, held against its tar stream.
extension CapsuleBuilderTests {
  private static let listing = """
    find . -printf '%P|%y|%m|%U|%G|%T@|%l|%n\\n' | sort
    find . -type f -size +0 -exec sha256sum {} + | sort; find . '(' -type c -o -type b ')' -exec stat -c '%n %t %T' {} +
    getfattr -R -h -d -e hex -m - . 2>&1 | sort
    """

  @Test(.enabled(if: isRoot && isInstalled("mkfs.erofs") && isInstalled("setfacl") && canMountErofs))
  func `the mounted erofs image is the tree that the tar stream unpacks to`() async throws {
    try tree.directory.run(
      """
      mkdir -p tree/d/sub; touch tree/d/file tree/d/sub/file
      mkdir tree/d/dev; mknod tree/d/dev/null c 1 3; mknod tree/d/dev/disk b 8 17; mkfifo tree/d/pipe
      ln -s '../no where' tree/d/link; ln tree/d/file tree/d/sub/again
      chown -h 1000:3000000 tree/d/link tree/d/file; chmod 6751 tree/d/sub/file
      setfacl -m u:1234:rw tree/d/file; setfacl -d -m g:99:rx tree/d/sub
      setfattr -n trusted.perseid -v 0x00ff tree/d; cp /bin/true tree/d/capable; setcap cap_net_raw+ep tree/d/capable
      head -c 5000000 /dev/urandom >tree/d/big; truncate -s 3M tree/d/hole; printf x >>tree/d/hole
      find tree -exec touch -h -d '2021-03-04 05:06:07.123456789 UTC' {} +
      """)
    let capsule = try await build()
    let image = try #require(capsule.erofs)
    try state.run(
      """
      mkdir tar erofs
      tar --zstd --xattrs --xattrs-include='*' --numeric-owner -C tar \
        -xpf '\(store.path(of: capsule.rootFileSystem.digest))'
      mount -t erofs -o loop,ro '\(store.path(of: image.digest))' erofs
      """)
    defer { _ = try? state.run("umount -l erofs") }
    let mounted = try state.run("cd erofs\n\(Self.listing)")
    let unpacked = try state.run("cd tar\n\(Self.listing)")
    let difference = Set(mounted.split(separator: "\n")).symmetricDifference(unpacked.split(separator: "\n"))
    #expect(difference.sorted() == [])
    #expect(mounted.contains("security.capability") && mounted.contains("posix_acl_default"))
    #expect(mounted.contains("trusted.perseid"))
  }

  @Test(.enabled(if: isInstalled("mkfs.erofs"))) func `the erofs image is the same in every build`() async throws {
    let first = try #require(try await build().erofs)
    let elsewhere = try TemporaryDirectory()
    try tree.directory.run("cp -a tree copy")
    let other = try await CapsuleBuilder(store: ContentStore(directory: elsewhere.path))
      .build(request("\(tree.directory.path)/copy"))
    #expect(other.erofs == first)
    // Kept while the tree is the same, made anew where it is not.
    #expect(try await build().erofs == first)
    try tree.directory.run("printf 'a change' >tree/etc/motd")
    #expect(try await build().erofs != first)
  }

  @Test(.enabled(if: isRoot && isInstalled("mkfs.erofs")))
  func `what is left out of the tar stream is not in the erofs image either`() async throws {
    let before = try await build()
    // A socket means nothing in another machine.
    try tree.directory.run(
      """
      touch -r tree/etc stamp
      perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); bind(S, sockaddr_un("tree/etc/s")) or die'
      touch -r stamp tree/etc
      """)
    #expect(try await build().digest == before.digest)
  }

  @Test func `a capsule that leaves root mode overlay out has no erofs image`() async throws {
    try tree.directory.run("mkdir -p tree/etc/perseid; printf 'root: { modes: ram }\\n' >tree/etc/perseid/capsule.yaml")
    #expect(try await build().erofs == nil)
    var request = request()
    try tree.directory.run("rm tree/etc/perseid/capsule.yaml")
    request.makesErofs = false
    #expect(try await CapsuleBuilder(store: store).build(request).erofs == nil)
  }
}

/// Whether this kernel mounts erofs images here.
private let canMountErofs: Bool = {
  guard isRoot, isInstalled("mkfs.erofs"), let directory = try? TemporaryDirectory() else { return false }
  return (try? directory.run("mkdir a m; mkfs.erofs --quiet i a; mount -t erofs -o loop,ro i m; umount m")) != nil
}()
