import Foundation
import Lab
import NetworkTypes
import Testing

@Suite("A root whose init is not systemd", .enabled(if: NetworkNamespace.isAvailable, "needs private namespaces"))
struct OtherInitTests {
  @Test(
    "has the client started, and started again when it ends: the node is ready and keeps checking in",
    .timeLimit(.minutes(40)),
    arguments: [["sysvinit", "openrc"], ["runit", "busybox"], ["busybox-rcs", "rc-local"]])
  func isReady(inits: [String]) async throws {
    try await withTurns(inits.count) {
      try await Site.with { site in
        var settings = Appliance.Settings()
        settings.extra = "states: { readyIntervalSeconds: 2 }"
        let appliance = try Appliance(site, state: site.directory + "/state", settings: settings)
        try await appliance.start()
        do {
          try await boot(inits, site, appliance)
        } catch {
          await appliance.stop()
          throw LabError("\(error)\nthe appliance said last:\n\(appliance.log?.tail(20) ?? "")")
        }
        await appliance.stop()
      }
    }
  }

  private func boot(_ inits: [String], _ site: Site, _ appliance: Appliance) async throws {
    try await appliance.run("group", "set", "kernelArgs", Machine.kernelArguments, "cluster", "--yes")
    let scripts = appliance.state + "/nodescripts/ready/all"
    try FileManager.default.createDirectory(atPath: scripts, withIntermediateDirectories: true)
    // Ends the client that runs it, the first time.
    try "#!/bin/sh\n[ -e /run/ended ] || { : > /run/ended; kill $PPID; sleep 60; }\n"
      .write(toFile: scripts + "/70-end-client", atomically: true, encoding: .utf8)
    // The kernel has unpacked both images: microcode that the root brings, and what is behind it.
    let scriptsBefore = appliance.state + "/nodescripts/init/all"
    try FileManager.default.createDirectory(atPath: scriptsBefore, withIntermediateDirectories: true)
    try """
    #!/bin/sh
    own=/newroot/usr/lib/firmware/intel-ucode/06-00-00
    if [ -e "$own" ]; then /bin/busybox cmp "$own" /kernel/x86/microcode/GenuineIntel.bin; else [ ! -e /kernel ]; fi

    """.write(toFile: scriptsBefore + "/60-microcode", atomically: true, encoding: .utf8)
    let watch = try RunningProcess(appliance.command("watch"))
    defer { watch.signal(15) }
    var machines: [Machine] = []
    for (index, name) in inits.enumerated() {
      try await appliance.run(
        "vnfs", "import", try Cache.initTree(name), "--name", name, "--yes", timeout: .seconds(300))
      let configuration = Machine.Configuration(number: index + 1, processors: 1)
      try await appliance.run("node", "add", configuration.mac.description, "with-\(name)", "--vnfs", name)
      if name == "busybox" { try prepareLivesync(name, appliance) }
      machines.append(try await site.start(configuration))
    }
    for (name, machine) in zip(inits, machines) {
      try await appliance.node(of: machine, reaches: "ready", within: bootBound)
      let timeline = try await appliance.run("node", "timeline", "with-\(name)")
      #expect(timeline.contains("60-microcode done"), "\(timeline)")
      do {
        // Twice: the client lives again, and has come back after its interval.
        var position = 0
        for _ in 0..<2 {
          try await watch.log.line("70-end-client done on with-\(name)", from: position, within: .seconds(120)) {
            $0.contains("with-\(name) ") && $0.contains("70-end-client done")
          }
          position = watch.log.position
        }
      } catch {
        throw LabError("\(error); \(await appliance.whereItIs(machine))")
      }
      if name == "busybox" { try await livesync(name, appliance, watch) }
      await machine.powerOff()
    }
  }

  /// What shows a running process, and what is in the root now.
  private func prepareLivesync(_ name: String, _ appliance: Appliance) throws {
    let scripts = appliance.state + "/nodescripts/ready/vnfs/\(name)"
    try FileManager.default.createDirectory(atPath: scripts, withIntermediateDirectories: true)
    try """
    #!/bin/sh
    [ -e /run/pid ] || { /bin/busybox sleep 1000000 >/dev/null 2>&1 & echo $! >/run/pid; }
    read pid </run/pid
    kill -0 $pid && echo "process $pid runs"
    [ -e /bin/hostname ] && echo 'the old file is there'
    cat /etc/taken-over /run/hook
    exit 0

    """.write(toFile: scripts + "/60-look", atomically: true, encoding: .utf8)
  }

  /// A running node takes over another generation, in which the program of all its processes is another one.
  private func livesync(_ name: String, _ appliance: Appliance, _ watch: RunningProcess) async throws {
    let node = "with-\(name)"
    func looks() async throws -> ArraySlice<TimelineEntry> {
      let timeline = try await appliance.timeline(node)
      let done = timeline.lastIndex { $0.event == "livesync done" } ?? timeline.startIndex
      return timeline[done...].filter { $0.event == "60-look done" }[...]
    }
    let before = try #require(try await looks().last?.detail)
    #expect(before.contains("the old file is there"))
    let process = try #require(before.split(separator: "\n").first { $0.hasPrefix("process ") })
    try await appliance.run("vnfs", "mount", name, timeout: .seconds(300))
    let tree = appliance.state + "/mounts/" + name
    try FileManager.default.createDirectory(atPath: tree + "/etc/perseid/hooks", withIntermediateDirectories: true)
    try "taken over\n".write(toFile: tree + "/etc/taken-over", atomically: true, encoding: .utf8)
    let hook = tree + "/etc/perseid/hooks/livesync"
    try "#!/bin/sh\necho \"hook of $VNFS, generation $GENERATION\" >/run/hook\n"
      .write(toFile: hook, atomically: true, encoding: .utf8)
    try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: hook)
    try FileManager.default.removeItem(atPath: tree + "/usr/bin/hostname")
    // As good as before, and another file.
    let program = try FileHandle(forUpdating: URL(fileURLWithPath: tree + "/usr/bin/busybox"))
    try program.seekToEnd()
    try program.write(contentsOf: Data([0]))
    try program.close()
    try await appliance.run("vnfs", "umount", name, timeout: .seconds(300))
    try await appliance.run("vnfs", "livesync", name, node, timeout: .seconds(600))
    let status = try await appliance.nodes().first { $0.name == node }
    #expect(status?.generation == 1 && status?.synchronised == 2)
    let deadline = ContinuousClock.now + .seconds(300)
    while true {
      let position = watch.log.position
      if let look = try await looks().last {
        for words in [process, "taken over", "hook of \(name), generation 2"] {
          #expect(look.detail.contains(words), "\(words) on \(node): \(look.detail)")
        }
        #expect(!look.detail.contains("the old file is there"))
        return
      }
      guard deadline > .now else { throw LabError("\(node) did not look at its root again") }
      _ = try? await watch.log.line("an event", from: position, within: .seconds(5)) { !$0.isEmpty }
    }
  }
}
