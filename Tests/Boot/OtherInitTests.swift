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
      await machine.powerOff()
    }
  }
}
