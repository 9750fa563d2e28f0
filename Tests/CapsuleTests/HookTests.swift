import Capsule
import CapsuleFormat
import Foundation
import Lab
import TestSupport
import Testing

/// Hooks that do not end: each is asked to, and killed where it does not, and nothing of it is left.
@Suite(.enabled(if: isRoot && isInstalled("zstd") && isInstalled("unshare") && isInstalled("busybox")))
struct HookTests {
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
      cp /bin/busybox tree/bin/busybox
      for name in sh sleep setsid mkfifo; do ln -s busybox tree/bin/$name; done
      mkfifo tree/started
      """)
  }

  private func hook(_ name: String, _ script: String, settings: String = "") throws {
    try tree.directory.write(Array("#!/bin/sh\n\(script)\n".utf8), to: "tree/etc/perseid/hooks/\(name)")
    try tree.directory.run("chmod 755 tree/etc/perseid/hooks/\(name)")
    if !settings.isEmpty { try tree.directory.write(Array(settings.utf8), to: "tree/etc/perseid/capsule.yaml") }
  }

  /// Runs a hook and cancels it when it says that it has started.
  private func cancelled(_ hook: CapsuleSettings.Hook, patience: Int) async throws {
    let source = tree.source
    let running = Task {
      try await CapsuleHooks.run(hook, in: source, environment: ["VNFS": "acme"], patience: patience)
    }
    try await Command("cat", source + "/started").run(timeout: .seconds(240)).check()
    running.cancel()
    await #expect(throws: CancellationError.self) { try await running.value }
  }

  /// Whether a process with that argument runs anywhere.
  private func runs(_ argument: String) throws -> Bool {
    try FileManager.default.contentsOfDirectory(atPath: "/proc").contains { entry in
      guard pid_t(entry) != nil, let line = FileManager.default.contents(atPath: "/proc/\(entry)/cmdline") else {
        return false
      }
      return line.split(separator: 0).contains { String(decoding: $0, as: UTF8.self) == argument }
    }
  }

  private func expectNothingLeft() throws {
    #expect(try !String(contentsOfFile: "/proc/self/mounts", encoding: .utf8).contains(tree.directory.path))
  }

  @Test(.timeLimit(.minutes(5)), arguments: [(true, 600), (false, 0)])
  func `a hook is asked to end where its task is cancelled, and killed where it does not`(
    isPolite: Bool, patience: Int
  ) async throws {
    let answer = isPolite ? "echo >/ended; exit 0" : ""
    try hook("mount", "trap '\(answer)' TERM; echo >/started; while :; do sleep 1; done")
    let listing = "cd tree; find . -path ./ended -o -path ./started -o -path . -o -printf '%P|%y|%m|%T@\\n' | sort"
    let before = try tree.directory.run(listing)
    try await cancelled(.mount, patience: patience)
    #expect(try tree.directory.run(listing) == before)
    #expect(FileManager.default.fileExists(atPath: tree.source + "/ended") == isPolite)
    try expectNothingLeft()
  }

  @Test(.timeLimit(.minutes(5)), arguments: [600, 0])
  func `what a hook has started ends with it, daemons too, whether they hear or not`(patience: Int) async throws {
    let seconds = "\(7_000_000 + Int.random(in: 0..<1_000_000))"
    let deaf = patience == 0 ? "trap '' TERM;" : ""
    try hook(
      "mount", "\(deaf) sleep \(seconds) & setsid sleep \(seconds) & echo >/started; sleep \(seconds)")
    try await cancelled(.mount, patience: patience)
    #expect(try !runs(seconds))
    try expectNothingLeft()
  }

  @Test(.timeLimit(.minutes(5))) func `a hook has its time, and what it ran into is said`() async throws {
    try hook("umount", "echo >/started & sleep 8000000", settings: "hookSeconds: 1\n")
    await #expect {
      try await CapsuleHooks.run(.umount, in: tree.source, environment: ["VNFS": "acme"])
    } throws: {
      let words = "\($0)"
      return ["hook umount", "capsule acme", "/etc/perseid/hooks/umount", "1 seconds", "hookSeconds"]
        .allSatisfy(words.contains)
    }
    try expectNothingLeft()
  }

  @Test(.timeLimit(.minutes(5))) func `a build whose hook is cancelled leaves nothing of itself`() async throws {
    let seconds = "\(6_000_000 + Int.random(in: 0..<1_000_000))"
    // The tree that it runs in is another one than this: what it writes to its own pipe nobody reads.
    try hook("configure", "sleep \(seconds)")
    let request = BuildRequest(
      source: tree.source, nodeExecutable: "\(tree.directory.path)/perseid-node",
      busybox: "\(tree.directory.path)/busybox")
    let capsule = try await CapsuleBuilder(store: store).build(request)
    let before = try state.run("find blobs | sort")
    let rebuild = Task { [store] in try await CapsuleRebuilder(store: store).rebuild(capsule, request) }
    while try !runs(seconds) { try await Task.sleep(for: .milliseconds(20)) }
    rebuild.cancel()
    await #expect(throws: CancellationError.self) { _ = try await rebuild.value }
    #expect(try !runs(seconds))
    #expect(try state.run("find blobs | sort; ls tmp") == before)
    try expectNothingLeft()
  }

  @Test(.timeLimit(.minutes(5))) func `more hooks than there are processors hold up nothing else`() async throws {
    let count = 2 * ProcessInfo.processInfo.activeProcessorCount + 2
    // Each ends when somebody else, whose turn comes only then, writes to its pipe.
    try tree.directory.run("touch tree/etc/resolv.conf")
    try hook("mount", "mkfifo /pipe-$NUMBER; read line </pipe-$NUMBER")
    let source = tree.source
    try await withThrowingTaskGroup(of: Void.self) { tasks in
      for number in 0..<count {
        tasks.addTask {
          try await CapsuleHooks.run(.mount, in: source, environment: ["VNFS": "acme", "NUMBER": "\(number)"])
        }
      }
      tasks.addTask {
        for number in 0..<count {
          let pipe = "\(source)/pipe-\(number)"
          while !FileManager.default.fileExists(atPath: pipe) { try await Task.sleep(for: .milliseconds(20)) }
          try await Command("sh", "-c", "echo >'\(pipe)'").run(timeout: .seconds(120)).check()
        }
      }
      try await tasks.waitForAll()
    }
  }
}
