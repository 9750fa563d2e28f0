import Capsule
import CapsuleFormat
import Foundation
import TestSupport
import Testing

/// Making a capsule again takes root: it is unpacked, with owners and devices.
@Suite(.enabled(if: isRoot && isInstalled("zstd") && isInstalled("unshare") && isInstalled("busybox")))
struct RebuildTests {
  let tree: SyntheticTree
  let state: TemporaryDirectory
  let store: ContentStore

  init() throws {
    tree = try SyntheticTree()
    state = try TemporaryDirectory()
    store = try ContentStore(directory: state.path)
    try tree.directory.run(
      """
      mkdir -p tree/bin tree/proc tree/sys tree/dev tree/run tree/etc/perseid/hooks
      cp /bin/busybox tree/bin/busybox; ln -s busybox tree/bin/sh
      """)
  }

  private var request: BuildRequest {
    BuildRequest(
      source: tree.source, nodeExecutable: "\(tree.directory.path)/perseid-node",
      busybox: "\(tree.directory.path)/busybox")
  }

  private func build() async throws -> StoredCapsule { try await CapsuleBuilder(store: store).build(request) }

  private func rebuild(_ capsule: StoredCapsule) async throws -> StoredCapsule {
    try await CapsuleRebuilder(store: store).rebuild(capsule, request)
  }

  private func hook(_ script: String) throws {
    try tree.directory.write(Array("#!/bin/sh\n\(script)\n".utf8), to: "tree/etc/perseid/hooks/configure")
    try tree.directory.run("chmod 755 tree/etc/perseid/hooks/configure")
  }

  private func file(_ path: String, in capsule: StoredCapsule) throws -> String {
    try state.run("tar --zstd -xOf '\(store.path(of: capsule.rootFileSystem.digest))' \(path)")
  }

  @Test func `a capsule without a hook is the same again, and has a newer stage 1 where there is one`() async throws {
    let capsule = try await build()
    #expect(try await rebuild(capsule).digest == capsule.digest)
    try tree.directory.write(SyntheticTree.elf(modinfo: ["newer"], machine: 62), to: "perseid-node")
    let newer = try await rebuild(capsule)
    #expect(newer.stage1 != capsule.stage1 && newer.digest != capsule.digest)
    #expect(newer.rootFileSystem == capsule.rootFileSystem && newer.initramfs == capsule.initramfs)
    #expect(try state.run("ls tmp") == "")
  }

  @Test func `the hook configure runs inside the tree, and what it made is in the capsule`() async throws {
    try hook("echo \"set up as $VNFS\" >/etc/set-up")
    let capsule = try await build()
    let again = try await rebuild(capsule)
    #expect(try file("etc/set-up", in: again) == "set up as acme-1.2\n")
    #expect(!FileManager.default.fileExists(atPath: "/etc/set-up"))
    #expect(try state.run("ls tmp") == "")
  }

  @Test func `a hook that fails ends it, and nothing is kept`() async throws {
    try hook("exit 3")
    let capsule = try await build()
    let before = try state.run("find blobs -type f | sort")
    await #expect {
      try await rebuild(capsule)
    } throws: {
      "\($0)".contains("/etc/perseid/hooks/configure, ended with exit code 3") && "\($0)".contains("nothing was kept")
    }
    #expect(try state.run("find blobs -type f | sort; ls tmp") == before)
  }

  @Test func `a tree that its hook spoils is said to be the capsule's, with what to do`() async throws {
    try hook("/bin/busybox rm -r /boot")
    let failure = await #expect(throws: CapsuleError.self) { try await rebuild(try await build()) }
    let words = try #require(failure).description
    #expect(words.contains("The tree of the capsule acme-1.2 has no kernel"), "\(words)")
    #expect(words.contains("perseid vnfs mount acme-1.2") && !words.contains(state.path), "\(words)")
    #expect(try state.run("ls tmp") == "")
  }

  @Test func `the recipe that a capsule keeps can be run again, and its hook runs then too`() async throws {
    try hook("echo \"set up as $VNFS\" >/etc/set-up")
    #expect(try await build().recipe(from: store, directory: "/") == nil)
    let text = "name: made\nbase: { source: tree }\ncommands: ['echo command >/etc/made']\n"
    let recipe = try Recipe.parse(yaml: text, file: "\(tree.directory.path)/recipe.yaml")
    let first = try await RecipeBuilder(store: store).build(recipe, request)
    #expect(try file("etc/made", in: first) == "command\n")
    #expect(try file("etc/set-up", in: first) == "set up as made\n")
    let kept = try #require(try first.recipe(from: store, directory: tree.directory.path))
    var same = recipe
    same.title = "the recipe that the capsule made keeps"
    #expect(kept == same)
    try tree.directory.run("printf newer >tree/etc/version")
    let second = try await RecipeBuilder(store: store).build(kept, request)
    #expect(try file("etc/version", in: second) == "newer")
  }
}
