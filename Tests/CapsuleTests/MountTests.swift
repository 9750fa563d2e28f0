import Capsule
import CapsuleFormat
import Foundation
import Synchronization
import TestSupport
import Testing

/// Unpacking, changing and closing take root, as they do in life.
@Suite(.enabled(if: isRoot && isInstalled("zstd") && isInstalled("unshare")))
struct MountTests {
  let tree: SyntheticTree
  let state: TemporaryDirectory
  let store: ContentStore
  let mounts: CapsuleMounts

  init() throws {
    tree = try SyntheticTree()
    state = try TemporaryDirectory()
    store = try ContentStore(directory: state.path)
    mounts = CapsuleMounts(directory: state.path + "/mounts")
  }

  func build(_ source: String? = nil) async throws -> StoredCapsule {
    let request = BuildRequest(
      source: source ?? tree.source, nodeExecutable: "\(tree.directory.path)/perseid-node",
      busybox: "\(tree.directory.path)/busybox")
    return try await CapsuleBuilder(store: store).build(request)
  }

  /// A chroot has programs only if they are put there.
  func addBusybox() throws {
    try tree.directory.run(
      """
      mkdir -p tree/bin tree/proc tree/sys tree/dev tree/run tree/tmp
      cp /bin/busybox tree/bin/busybox
      for name in sh cat ls touch test sleep ps env; do ln -s busybox tree/bin/$name; done
      """)
  }

  @Test func `a mounted tree packed again without a change is the same capsule, and with one is another`() async throws
  {
    let capsule = try await build()
    try mounts.mount(capsule, name: "acme", generation: 3, from: store)
    #expect(mounts.state(of: "acme") == .mounted)
    #expect(mounts.record(of: "acme")?.generation == 3)
    let path = mounts.path(of: "acme")
    let again = try await build(path)
    #expect(try again.contents(in: store) == mounts.record(of: "acme")?.contents)
    #expect(again.rootFileSystem.digest == capsule.rootFileSystem.digest)
    try Data("new".utf8).write(to: URL(fileURLWithPath: path + "/etc/new"))
    #expect(try await build(path).contents(in: store) != mounts.record(of: "acme")?.contents)
    #expect { try mounts.mount(capsule, name: "acme", generation: 3, from: store) } throws: {
      ($0 as? CapsuleError)?.code == .busy
    }
    try mounts.remove("acme")
    #expect(mounts.state(of: "acme") == nil)
    #expect(try state.run("ls mounts") == "")
  }

  @Test func `what was interrupted is told, and closing cleans it up`() async throws {
    let capsule = try await build()
    try mounts.mount(capsule, name: "acme", generation: 1, from: store)
    for phase in ["unpacking", "removing"] {
      try state.run("sed -i 's/\"phase\":\"[a-z]*\"/\"phase\":\"\(phase)\"/' mounts/.records/acme.json")
      #expect(mounts.state(of: "acme") == .interrupted)
      #expect { try mounts.mounted("acme") } throws: { "\($0)".contains("perseid vnfs close acme") }
      #expect { try mounts.mount(capsule, name: "acme", generation: 1, from: store) } throws: {
        ($0 as? CapsuleError)?.code == .notMounted
      }
    }
    try mounts.remove("acme")
    #expect(mounts.state(of: "acme") == nil)
    try mounts.mount(capsule, name: "acme", generation: 1, from: store)
    #expect(mounts.state(of: "acme") == .mounted)
  }

  @Test func `a mount that fails leaves nothing`() async throws {
    let capsule = try await build()
    let blob = store.path(of: capsule.rootFileSystem.digest)
    try state.run("chmod u+w '\(blob)'; printf XXXX >'\(blob)'")
    #expect(throws: CapsuleError.self) { try mounts.mount(capsule, name: "acme", generation: 1, from: store) }
    #expect(mounts.state(of: "acme") == nil)
    #expect(try state.run("ls mounts") == "")
  }

  @Test func `who runs something in a tree keeps others from packing it, and shows as busy`() async throws {
    let capsule = try await build()
    try mounts.mount(capsule, name: "acme", generation: 1, from: store)
    do {
      let lock = try mounts.lock("acme", isShared: true)
      let second = try mounts.lock("acme", isShared: true)
      #expect(mounts.state(of: "acme") == .busy)
      #expect { try mounts.lock("acme") } throws: { ($0 as? CapsuleError)?.code == .busy }
      withExtendedLifetime((lock, second)) {}
    }
    #expect(mounts.state(of: "acme") == .mounted)
    _ = try mounts.lock("acme")
  }

  @Test func `looking how a mount stands keeps nobody from it`() async throws {
    let capsule = try await build()
    try mounts.mount(capsule, name: "acme", generation: 1, from: store)
    // Without a break, in a thread of its own.
    let looker = Looker()
    Thread.detachNewThread { [mounts] in
      while !looker.isOver.load(ordering: .relaxed) { _ = mounts.state(of: "acme") }
    }
    defer { looker.isOver.store(true, ordering: .relaxed) }
    for _ in 0..<50 {
      #expect(throws: Never.self) { _ = try mounts.lock("acme") }
    }
    looker.isOver.store(true, ordering: .relaxed)
    #expect(mounts.state(of: "acme") == .mounted)
    try mounts.remove("acme")
  }

  @Test func `a tree with something mounted in it is not removed`() async throws {
    let capsule = try await build()
    try mounts.mount(capsule, name: "acme", generation: 1, from: store)
    let path = mounts.path(of: "acme")
    try state.run("mkdir '\(path)/srv'; mount -t tmpfs tmpfs '\(path)/srv'")
    defer { _ = try? state.run("umount '\(path)/srv'") }
    #expect { try mounts.remove("acme") } throws: { "\($0)".contains("\(path)/srv") }
    #expect(mounts.state(of: "acme") == .mounted)
  }

  @Test(.enabled(if: isInstalled("busybox")))
  func `a command in the tree has processes, devices and name servers of its own, and leaves only what it writes`()
    async throws
  {
    try addBusybox()
    let capsule = try await build()
    try mounts.mount(capsule, name: "acme", generation: 1, from: store)
    let path = mounts.path(of: "acme")
    let before = try state.run("cd '\(path)'; find . -printf '%P|%y|%m|%T@|%s\\n' | sort")
    let room = TreeRoom(directory: path)
    func shell(_ script: String) async throws -> Int32? {
      try await room.run(
        ["/bin/sh", "-c", script], isInteractive: false, environment: ["VNFS": "acme"], timeLimit: 600)
    }
    #expect(
      try await shell(
        "test $$ -lt 100 && test -c /dev/null && test -d /proc/1 && test -d /sys/class && test $VNFS = acme") == 0)
    #expect(try await shell("exit 7") == 7)
    if FileManager.default.isReadableFile(atPath: "/etc/resolv.conf") {
      let own = try Data(contentsOf: URL(fileURLWithPath: "/etc/resolv.conf"))
      if !own.isEmpty { #expect(try await shell("test -s /etc/resolv.conf") == 0) }
    }
    #expect(try state.run("cd '\(path)'; find . -printf '%P|%y|%m|%T@|%s\\n' | sort") == before)
    #expect(try await shell("sleep 1000 & touch /etc/made") == 0)
    #expect(FileManager.default.fileExists(atPath: path + "/etc/made"))
    try mounts.remove("acme")
  }

  @Test(.enabled(if: isInstalled("busybox")), arguments: ["link", "file", "none"])
  func `name servers are there whatever the tree's resolv.conf is, which stays as it was`(_ kind: String) async throws {
    try addBusybox()
    switch kind {
    case "link": try tree.directory.run("ln -s ../run/systemd/resolve/stub-resolv.conf tree/etc/resolv.conf")
    case "file": try tree.directory.run("echo own >tree/etc/resolv.conf")
    default: break
    }
    let capsule = try await build()
    try mounts.mount(capsule, name: "acme", generation: 1, from: store)
    let room = TreeRoom(directory: mounts.path(of: "acme"))
    #expect(
      try await room.run(
        ["/bin/sh", "-c", "test -e /etc/resolv.conf && ! grep -q own /etc/resolv.conf"], isInteractive: false,
        timeLimit: 600)
        == 0)
    let again = try await build(mounts.path(of: "acme"))
    #expect(try again.contents(in: store) == capsule.contents(in: store))
  }

  @Test(.enabled(if: isInstalled("busybox") && isInstalled("pkill") && canReadNameServers))
  func `a command that is killed leaves nothing to be packed, and the last one takes the name servers away`()
    async throws
  {
    try addBusybox()
    let capsule = try await build()
    try mounts.mount(capsule, name: "acme", generation: 1, from: store)
    let path = mounts.path(of: "acme")
    func listing() throws -> String { try state.run("cd '\(path)'; find . -printf '%P|%y|%m|%T@|%s\\n' | sort") }
    /// Undoes what the commands below do.
    func tidy() throws { try state.run("rm -f '\(path)'/tmp/*; touch -r stamp '\(path)/tmp'") }
    func wait(for name: String) throws {
      try state.run("timeout 60 sh -c 'until [ -e \"$0\" ]; do sleep 0.01; done' '\(path)/tmp/\(name)'")
    }
    try state.run("touch -r '\(path)/tmp' stamp")
    let before = try listing()
    let room = TreeRoom(directory: path)
    try await withThrowingTaskGroup(of: Int32?.self) { group in
      try state.run("mkfifo '\(path)/tmp/end'")
      group.addTask {
        try await room.run(
          ["/bin/sh", "-c", "touch /tmp/first; cat /tmp/end; test -s /etc/resolv.conf"], isInteractive: false,
          timeLimit: 600)
      }
      try wait(for: "first")
      #expect(
        try await room.run(["/bin/sh", "-c", "test -s /etc/resolv.conf"], isInteractive: false, timeLimit: 600) == 0)
      TreeRoom.takeBackNames(in: path)
      try state.run("timeout 60 sh -c 'echo >\"$0\"' '\(path)/tmp/end'")
      #expect(try await group.next() == 0)
      try tidy()
      #expect(try listing() == before)

      group.addTask {
        try await room.run(["/bin/sh", "-c", "touch /tmp/second; sleep 1000"], isInteractive: false, timeLimit: 600)
      }
      try wait(for: "second")
      try state.run("pkill -KILL -f 'perseid-roo[m] \(path) '")
      #expect(try await group.next() == 128 + SIGKILL)
      try tidy()
      #expect(try listing() != before)
      TreeRoom.takeBackNames(in: path)
      #expect(try listing() == before)
    }
  }

  @Test(.enabled(if: isInstalled("busybox")))
  func `hooks of the capsule run inside its tree, and their failure is told`() async throws {
    try addBusybox()
    try tree.directory.run(
      """
      mkdir -p tree/etc/perseid/hooks
      printf '#!/bin/sh\\necho "$VNFS" >/etc/from-hook\\n' >tree/etc/perseid/hooks/mount
      printf '#!/bin/sh\\nexit 3\\n' >tree/etc/perseid/hooks/umount
      chmod +x tree/etc/perseid/hooks/*
      """)
    let capsule = try await build()
    try mounts.mount(capsule, name: "acme", generation: 1, from: store)
    let path = mounts.path(of: "acme")
    #expect(try await CapsuleHooks.run(.mount, in: path, environment: ["VNFS": "acme"]))
    #expect(try String(contentsOfFile: path + "/etc/from-hook", encoding: .utf8) == "acme\n")
    #expect(!FileManager.default.fileExists(atPath: "/etc/from-hook"))
    await #expect {
      try await CapsuleHooks.run(.umount, in: path, environment: [:])
    } throws: {
      "\($0)".contains("exit code 3")
    }
    #expect(try await !CapsuleHooks.run(.close, in: path, environment: [:]))
  }
}

private var canReadNameServers: Bool {
  (try? Data(contentsOf: URL(fileURLWithPath: "/etc/resolv.conf")))?.isEmpty == false
}

private final class Looker: Sendable {
  let isOver = Atomic(false)
}
