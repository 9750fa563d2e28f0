import Capsule
import CapsuleFormat
import Foundation
import Synchronization
import TestSupport
import Testing

extension CapsuleBuilderTests {
  @Test func `a tree without a kernel or without its modules is refused, with the remedy`() async throws {
    try tree.directory.run("mv tree/boot/vmlinuz-* .")
    let noKernel = try #require(await failure())
    #expect(noKernel.code == .noKernel)
    #expect(noKernel.description.contains("boot/vmlinuz-*"))
    #expect(noKernel.description.contains("linux-image-amd64"))
    try tree.directory.run("mv vmlinuz-* tree/boot/; mv tree/usr/lib/modules/* .")
    let noModules = try #require(await failure())
    #expect(noModules.code == .noModules)
    #expect(noModules.description.contains(SyntheticTree.release))
    #expect(try files == [])
  }

  @Test func `a kernel that is a link out of the tree is none`() async throws {
    try tree.directory.run(
      "printf secret >outside; ln -sf $PWD/outside tree/boot/vmlinuz-\(SyntheticTree.release)")
    #expect(await failure()?.code == .noKernel)
  }

  @Test func `a source that is missing or no archive is refused`() async throws {
    #expect(await failure("/nowhere")?.code == .badSource)
    try tree.directory.run("printf 'x%.0s' $(seq 2000) >text; printf x >short")
    #expect(await failure("\(tree.directory.path)/text")?.code == .badArchive)
    #expect(await failure("\(tree.directory.path)/short")?.code == .badArchive)
    #expect(await failure("/dev/null")?.code == .badSource)
    #expect(try files == [])
  }

  @Test(arguments: ["cat", "gzip -c", "xz -c", "zstd -qc"])
  func `a truncated archive is refused, however packed`(_ pack: String) async throws {
    guard isInstalled(String(pack.prefix { $0 != " " })) else { return }
    try tree.directory.run(
      """
      head -c 300000 /dev/urandom >tree/usr/noise; tar -C tree -cf t.tar .
      \(pack) <t.tar >whole; head -c 200000 whole >part
      """)
    let failure = try #require(await failure("\(tree.directory.path)/part"))
    #expect(failure.code == .badArchive)
    #expect(failure.description.contains("\(tree.directory.path)/part"))
    #expect(try files == [])
  }

  @Test func `archives that reach out of the tree are refused, and write nothing`() async throws {
    try tree.directory.run(
      """
      mkdir evil; printf x >evil/f
      tar -C evil -P --transform 's,f,../../escaped,' -cf up.tar f
      tar -C evil -P --transform 's,f,/tmp/escaped,' -cf absolute.tar f
      ln -s /tmp evil/d; tar -C evil -cf through.tar d; rm evil/d; mkdir evil/d; printf x >evil/d/escaped
      tar -C evil -rf through.tar d/escaped
      """)
    for name in ["up", "absolute", "through"] {
      let failure = try #require(await failure("\(tree.directory.path)/\(name).tar"))
      #expect(failure.code == .badArchive)
      #expect(failure.description.contains("leads out of the tree"))
    }
    #expect(try files == [])
  }

  @Test func `names that no capsule can have are refused before anything is read`() async {
    for name in ["", "Debian", "-x", "a/b", "..", "a b", String(repeating: "a", count: 65)] {
      #expect(await failure("/nowhere", name: name)?.code == .badName)
    }
  }

  @Test func `executables for another architecture are refused`() async throws {
    try tree.directory.write(SyntheticTree.elf(modinfo: [], machine: 183), to: "perseid-node")
    let failure = try #require(await failure())
    #expect(failure.description.contains("The tree is for amd64"))
    #expect(try files == [])
  }

  @Test func `a capsule with a missing blob does not load`() async throws {
    let capsule = try await build()
    try state.run("rm -f '\(store.path(of: capsule.stage1.digest))'")
    #expect { try StoredCapsule.load(capsule.digest, from: store) } throws: { error in
      (error as? CapsuleError)?.code == .missingBlob
    }
  }

  @Test func `a cancelled build leaves nothing`() async throws {
    try tree.directory.run("head -c 30000000 /dev/urandom >tree/usr/large")
    let (builder, request) = (CapsuleBuilder(store: store), request())
    let (packing, begin) = AsyncStream.makeStream(of: Void.self)
    let task = Task {
      try await builder.build(request) { progress in
        if progress.phase == .packing {
          begin.yield()
          // The build's own thread is held here until the test has cancelled it.
          while !Task.isCancelled { sched_yield() }
        }
      }
    }
    for await _ in packing { break }
    task.cancel()
    await #expect(throws: CancellationError.self) { try await task.value }
    #expect(try files == [])
  }

  @Test(.enabled(if: isRoot)) func `a full disk is named, and nothing is kept`() async throws {
    try tree.directory.run("head -c 6000000 /dev/urandom >tree/usr/large; mkdir small")
    // A file system inside this test's own directory.
    try tree.directory.run("mount -t tmpfs -o size=4m small small")
    defer { _ = try? tree.directory.run("umount -l small") }
    var failure: CapsuleError?
    do {
      let store = try ContentStore(directory: "\(tree.directory.path)/small")
      _ = try await CapsuleBuilder(store: store).build(request())
    } catch { failure = error as? CapsuleError }
    #expect(failure?.code == .noSpace)
    #expect(failure?.description.contains("the disk is full") == true)
    #expect(try tree.directory.run("find small -type f") == "")
  }
}

/// What was said during a build.
final class Notes: Sendable {
  private let notes = Mutex<[String]>([])

  func add(_ note: String) { notes.withLock { $0.append(note) } }
  var all: [String] { notes.withLock { $0 } }
}
