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
      mkdir tree/d/sizes
      for size in 1 12 13 4030 4031 4032 4033 4095 4096 4097 8192 65535 65536 65537 69632 131072 2097152 2097153; do
        seq 400000 | head -c $size >tree/d/sizes/text-$size
        yes | head -c $size >tree/d/sizes/same-$size
        { seq 9999 | head -c $((size / 2)); head -c $size /dev/urandom; } | head -c $size >tree/d/sizes/half-$size
      done
      cat /bin/bash /bin/bash >tree/d/program
      mkdir tree/d/many; (cd tree/d/many; seq -f 'a file with a name of some length, number %g' 3000 | xargs -d '\n' touch)
      touch tree/d/many/+plus tree/d/many/-minus; mkdir tree/d/many/!mark
      ln -s "$(head -c 4000 /dev/zero | tr '\\0' x)" tree/d/far; ln -s "$(head -c 4050 /dev/zero | tr '\\0' y)" tree/d/farther
      setfattr -n user.large -v "$(head -c 3900 /dev/zero | tr '\\0' z)" tree/d/sizes/text-4030 tree/d/many
      find tree -exec touch -h -d '2021-03-04 05:06:07.123456789 UTC' {} +
      """)
    let capsule = try await build()
    let image = try #require(capsule.erofs)
    try state.run(
      """
      mkdir tar erofs
      tar --zstd --xattrs --xattrs-include='*' --numeric-owner -C tar \
        -xpf '\(store.path(of: capsule.rootFileSystem.digest))'
      fsck.erofs '\(store.path(of: image.digest))'
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

  @Test func `the erofs image is the same in every build, copied from the last one or not`() async throws {
    try tree.directory.run(
      """
      mkdir tree/srv; seq 400000 >tree/srv/large; head -c 300000 /dev/urandom >tree/srv/random
      for file in 1 2 3 4 5 6 7 8 9; do seq $file 9999 >tree/srv/$file; done
      """)
    let first = try #require(try await build().erofs)
    let elsewhere = try TemporaryDirectory()
    try tree.directory.run("cp -a tree copy")
    let other = try await CapsuleBuilder(store: ContentStore(directory: elsewhere.path))
      .build(request("\(tree.directory.path)/copy"))
    #expect(other.erofs == first)
    #expect(try await build().erofs == first)
    var builder = CapsuleBuilder(store: store)
    builder.settlingSeconds = -60
    _ = try await builder.build(request())
    try tree.directory.run("seq 100 9999 >tree/srv/5; printf 'a change' >tree/etc/motd; rm tree/srv/2")
    let changed = try #require(try await builder.build(request()).erofs)
    #expect(changed != first)
    try tree.directory.run("rm -r copy; cp -a tree copy; tar --format=posix -C tree -cf copy.tar .")
    for source in ["copy", "copy.tar"] {
      let fresh = try TemporaryDirectory()
      let image = try await CapsuleBuilder(store: ContentStore(directory: fresh.path))
        .build(request("\(tree.directory.path)/\(source)")).erofs
      #expect(image == changed)
    }
  }

  @Test func `a damaged erofs image is not copied from`() async throws {
    try tree.directory.run("mkdir tree/srv; seq 900000 >tree/srv/large")
    var builder = CapsuleBuilder(store: store)
    builder.settlingSeconds = -60
    let first = try #require(try await builder.build(request()).erofs)
    try state.run(
      """
      chmod 600 '\(store.path(of: first.digest))'
      printf damage | dd of='\(store.path(of: first.digest))' bs=1 seek=9000 conv=notrunc 2>/dev/null
      """)
    try tree.directory.run("printf 'a change' >tree/etc/motd")
    let elsewhere = try TemporaryDirectory()
    let fresh = try await CapsuleBuilder(store: ContentStore(directory: elsewhere.path)).build(request())
    #expect(try await builder.build(request()).erofs == fresh.erofs)
  }

  @Test(.enabled(if: isRoot))
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
