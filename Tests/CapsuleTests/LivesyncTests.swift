import Capsule
import CapsuleFormat
import Foundation
import StateClient
import TestSupport
import Testing

/// What running nodes take over of another generation: made of two capsules, and applied to a tree in use.
@Suite(.enabled(if: isRoot && isInstalled("zstd") && isInstalled("setfattr")), .timeLimit(.minutes(5)))
struct LivesyncTests {
  let tree: SyntheticTree
  let state: TemporaryDirectory
  let store: ContentStore

  init() throws {
    tree = try SyntheticTree()
    state = try TemporaryDirectory()
    store = try ContentStore(directory: state.path)
    try tree.directory.run(
      """
      cd tree; mkdir -p etc/perseid opt/was opt/deep/er var/log run tmp
      printf old >opt/changed; printf gone >opt/gone; printf a >opt/was/directory; printf b >opt/file
      printf deep >opt/deep/er/x; printf one >opt/linked; ln opt/linked opt/other; ln -s changed opt/link
      printf 'kept' >etc/fstab; printf 'kept too' >etc/inittab; printf x >var/log/old; printf x >run/x
      find . -exec touch -h -d '2020-01-01 00:00:00.25 UTC' {} +
      """)
  }

  /// Another generation of it.
  private func change() throws {
    try tree.directory.run(
      """
      cd tree; printf new >opt/changed; rm opt/gone; rm -r opt/was; printf 'a file' >opt/was; chmod 4755 opt/was
      rm opt/file; mkdir opt/file; printf inside >opt/file/inside; chmod 700 opt/file; rm -r opt/deep
      printf 'one and more' >opt/linked; ln -sfn was opt/link; chown 12:34 opt/link -h
      setfattr -n user.colour -v red opt/changed; mkfifo opt/pipe; printf 'new too' >etc/fstab
      printf 'new too' >etc/inittab
      printf y >var/log/new; printf y >run/y; rm var/log/old
      """)
  }

  private func build() async throws -> StoredCapsule {
    let request = BuildRequest(
      source: tree.source, nodeExecutable: "\(tree.directory.path)/perseid-node",
      busybox: "\(tree.directory.path)/busybox")
    return try await CapsuleBuilder(store: store).build(request)
  }

  /// Both generations, and what leads from one to the other; the live tree is in `live`, as the first one.
  private func changed(settings: String = "", list: String = "") async throws -> LivesyncChange {
    if !settings.isEmpty { try tree.directory.write(Array(settings.utf8), to: "tree/etc/perseid/capsule.yaml") }
    if !list.isEmpty { try tree.directory.write(Array(list.utf8), to: "tree/etc/perseid/livesync.skip") }
    let first = try await build()
    try tree.directory.run("cp -a tree live")
    try change()
    let second = try await build()
    return try await LivesyncChange.make(from: first.digest, to: second.digest, in: store)
  }

  private func apply(_ change: LivesyncChange) throws -> TreeUpdate.Result {
    try TreeUpdate(root: tree.directory.path + "/live").apply(store.path(of: change.blob.digest))
  }

  /// All that can be seen of the tree, but for the times of directories and what is never taken over.
  private func listing(_ name: String, without: String = "^$|inittab") throws -> String {
    try tree.directory.run(
      """
      cd \(name); rm -rf run tmp boot
      find . ! -type d -printf '%P|%y|%m|%U|%G|%T@|%l|%n\\n' -o -printf '%P|%y|%m|%U|%G\\n' | grep -Ev '\(without)' | sort
      find . -type f -exec sha256sum {} + | sort -k2 | grep -Ev '\(without)'
      getfattr -h -d -m user -R . 2>/dev/null | grep -Ev '\(without)' || true
      """)
  }

  @Test func `a live tree becomes the new generation, and does again when it is done twice`() async throws {
    let change = try await changed()
    #expect(change.hook == nil && change.kernels.before == change.kernels.after)
    let result = try apply(change)
    #expect(result.written == change.written && result.removed == change.removed && result.removed > 0)
    #expect(try apply(change) == result)
    #expect(try listing("live") == listing("tree"))
  }

  @Test func `who has an old file open keeps it, and what is nobody's generation's stays`() async throws {
    let change = try await changed()
    try tree.directory.run("printf mine >live/opt/deep/er/mine; printf mine >live/opt/mine")
    let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: tree.directory.path + "/live/opt/changed"))
    _ = try apply(change)
    #expect(try file.readToEnd() == Data("old".utf8))
    #expect(try tree.directory.run("cat live/opt/changed live/opt/mine live/opt/deep/er/mine") == "newminemine")
    #expect(try tree.directory.run("ls live/opt/deep/er; find live -name '.perseid*'") == "mine\n")
  }

  @Test func `what the capsule and Perceus's list name stays as it is, as does what boots make`() async throws {
    let change = try await changed(settings: "livesync: { skip: /var/log/* }\n", list: "^/etc/fst\n")
    _ = try apply(change)
    let kept = try tree.directory.run("cat live/etc/fstab live/etc/inittab; ls live/var/log live/run")
    #expect(kept == "keptkept toolive/run:\nx\n\nlive/var/log:\nold\n")
    let skipped = "fstab|inittab|var/log|^#|^$"
    #expect(try listing("live", without: skipped) == listing("tree", without: skipped))
  }

  @Test func `the hook of the new generation and its time are told, and the blob is the same each time`() async throws {
    try tree.directory.run("mkdir -p tree/opt/acme; printf '#!/bin/sh\\n' >tree/opt/acme/sync")
    let change = try await changed(settings: "hooks: { livesync: /opt/acme/sync }\nhookSeconds: 77\n")
    #expect(change.hook == "/opt/acme/sync" && change.hookSeconds == 77)
    #expect(try await LivesyncChange.make(from: change.before, to: change.after, in: store) == change)
    let back = try await LivesyncChange.make(from: change.after, to: change.before, in: store)
    _ = try apply(change)
    _ = try apply(back)
    #expect(try tree.directory.run("cat live/opt/changed live/opt/gone live/opt/was/directory") == "oldgonea")
  }

  @Test func `half of it and then all of it comes to the same`() async throws {
    let change = try await changed()
    let blob = store.path(of: change.blob.digest)
    let stream = try tree.directory.run("zstd -dcq '\(blob)' >whole.tar; wc -c <whole.tar")
    let length = try #require(Int(stream.trimmingCharacters(in: .whitespacesAndNewlines)))
    #expect(length > 4096)
    for part in [length / 4, length / 2, length * 3 / 4] {
      try tree.directory.run("head -c \(part) whole.tar | zstd -q >part")
      #expect(throws: (any Error).self) {
        try TreeUpdate(root: tree.directory.path + "/live").apply(tree.directory.path + "/part")
      }
      #expect(try tree.directory.run("find live -name .perseid-livesync") == "")
    }
    _ = try apply(change)
    #expect(try listing("live") == listing("tree"))
  }

  @Test(arguments: ["memory", "overlay"], ["mount -t tmpfs tmpfs", "mount --bind root/other"])
  func `what is mounted in the tree is never written to, and is named`(mode: String, mount: String) async throws {
    let change = try await changed()
    try tree.directory.run(
      """
      mkdir room root; mount -t tmpfs tmpfs room; mkdir room/upper room/work
      if [ \(mode) = overlay ]; then
        mount -t overlay overlay -o lowerdir=live,upperdir=room/upper,workdir=room/work root
      else
        mount --bind live root
      fi
      mkdir root/other
      \(mount) root/opt; printf old >root/opt/changed; printf gone >root/opt/gone; printf b >root/opt/file
      mkdir root/opt/was; printf a >root/opt/was/directory
      """)
    defer { _ = try? tree.directory.run("umount root/opt; umount root; umount room") }
    let listing = "cd root/opt; find . -printf '%p %y %m %T@\\n' | sort; cat changed gone file was/directory"
    let before = try tree.directory.run(listing)
    let result = try TreeUpdate(root: tree.directory.path + "/root").apply(store.path(of: change.blob.digest))
    #expect(result.mounted == ["/opt"] && result.written < change.written)
    #expect(try tree.directory.run(listing) == before)
    #expect(try tree.directory.run("umount root/opt; ls root/opt; \(mount) root/opt").contains("deep"))
  }

  @Test func `a directory in which something is mounted is not replaced by a file, and a mounted file is kept`()
    async throws
  {
    let change = try await changed()
    try tree.directory.run(
      """
      mkdir root live/opt/was/inside; printf mine >mine; mount --bind live root
      mount -t tmpfs tmpfs root/opt/was/inside; mount --bind mine root/opt/changed
      """)
    defer { _ = try? tree.directory.run("umount root/opt/was/inside; umount root/opt/changed; umount root") }
    let result = try TreeUpdate(root: tree.directory.path + "/root").apply(store.path(of: change.blob.digest))
    #expect(result.mounted == ["/opt/changed", "/opt/was"])
    #expect(try tree.directory.run("cat mine root/opt/was/directory root/opt/linked") == "mineaone and more")
  }

  @Test func `a root in mode overlay takes it as one in memory does`() async throws {
    let change = try await changed()
    try tree.directory.run(
      """
      mkdir room merged; mount -t tmpfs tmpfs room; mkdir room/upper room/work
      mount -t overlay overlay -o lowerdir=live,upperdir=room/upper,workdir=room/work merged
      """)
    defer { _ = try? tree.directory.run("umount merged; umount room") }
    _ = try TreeUpdate(root: tree.directory.path + "/merged").apply(store.path(of: change.blob.digest))
    #expect(try listing("merged", without: "^$|inittab|^#|^user") == listing("tree", without: "^$|inittab|^#|^user"))
  }

  @Test func `a link that leads out is not followed, neither to write nor to remove`() async throws {
    let change = try await changed()
    try tree.directory.run(
      """
      mkdir outside; printf safe >outside/changed; printf safe >outside/gone
      rm -r live/opt; ln -s ../outside live/opt
      """)
    #expect(throws: (any Error).self) { try apply(change) }
    #expect(try tree.directory.run("ls outside; cat outside/*") == "changed\ngone\nsafesafe")
    try tree.directory.run(
      """
      mkdir evil; printf pwned >evil/file
      tar -C evil -P --transform 's,^file,../../outside/changed,' -cf - file | zstd -q >blob
      """)
    #expect(throws: (any Error).self) {
      try TreeUpdate(root: tree.directory.path + "/live").apply(tree.directory.path + "/blob")
    }
    #expect(try tree.directory.run("cat outside/*") == "safesafe")
  }
}
