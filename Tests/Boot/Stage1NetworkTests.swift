import Foundation
import Lab
import NetworkTypes
import Testing

@Suite("Stage 1 on an awkward network", .enabled(if: NetworkNamespace.isAvailable, "needs private namespaces"))
struct Stage1NetworkTests {
  private let second = MACAddress(rawValue: 0x5254_0000_0101)

  /// What the running system says of the memory that is in no file system that it sees: the old root's, were it kept.
  private static let memoryScript = """
    #!/bin/sh
    shared=$(awk '/^Shmem:/ { print $2 }' /proc/meminfo)
    used=$(df -k --output=used -t tmpfs -t devtmpfs | awk 'NR > 1 { sum += $1 } END { print sum }')
    echo "old root $((shared - used)) KiB"

    """

  @Test(
    "boots by the card that booted, though another one comes first, over a slow wire that loses 5 %, and frees its old root",
    .timeLimit(.minutes(40)))
  func slowWire() async throws {
    try await withTurns(1) {
      try await withAppliance { site, appliance in
        let scripts = appliance.state + "/nodescripts/ready/all"
        try FileManager.default.createDirectory(atPath: scripts, withIntermediateDirectories: true)
        try Self.memoryScript.write(toFile: scripts + "/20-memory", atomically: true, encoding: .utf8)
        var configuration = Machine.Configuration(number: 1)
        configuration.otherCards = [.init(mac: second, isOnSwitch: false)]
        let machine = try await site.start(configuration)
        // The firmware's own transfers are the firmware's to get through.
        try await machine.console.line(containing: "perseid: stage 1", within: bootBound)
        try await Command(
          "tc", "qdisc", "add", "dev", Site.serverInterface, "root", "tbf", "rate", "200mbit", "burst", "64kb",
          "latency", "50ms"
        ).in(site.server).run().check()
        let rules = site.directory + "/loss.nft"
        try """
        table netdev loss {
          chain in {
            type filter hook ingress device "\(Site.serverInterface)" priority 0;
            numgen random mod 100 < 5 drop
          }
        }

        """.write(toFile: rules, atomically: true, encoding: .utf8)
        try await site.server.command("nft", "-f", rules).run().check()
        let node = try await appliance.node(of: machine, reaches: "ready", within: bootBound)
        #expect(node.mac == machine.mac.description)
        #expect(machine.console.text.contains("perseid: eth1 \(machine.mac), address"))
        let entry = try await waitForEvent(of: machine, appliance) { $0.event == "20-memory done" }
        let kibibytes = entry.detail.firstMatch(of: /old root (-?\d+) KiB/).flatMap { Int($0.1) }
        let left = try #require(kibibytes, "\(entry)")
        #expect(left < 8192, "\(left) KiB of the old root are still there")
        await machine.powerOff()
      }
    }
  }

  @Test("has a bond of two cards with an address of the kernel command line", .timeLimit(.minutes(40)))
  func bond() async throws {
    try await withTurns(1) {
      try await withAppliance { site, appliance in
        var configuration = Machine.Configuration(number: 1)
        configuration.otherCards = [.init(mac: second, isOnSwitch: true)]
        let first = configuration.mac.formatted(separator: "-")
        try await appliance.run(
          "group", "set", "kernelArgs",
          "\(Machine.kernelArguments) perseid.bond=active-backup:\(first),\(second.formatted(separator: "-")) "
            + "ip=10.77.0.50:::255.255.255.0 perseid.mtu=1400", "cluster", "--yes")
        let machine = try await site.start(configuration)
        try await appliance.node(of: machine, reaches: "ready", within: bootBound)
        #expect(
          machine.console.text.contains(
            "perseid: bond0 \(machine.mac), address 10.77.0.50 of the kernel command line"))
        await machine.powerOff()
      }
    }
  }

  @Test("has a tagged network by the node's kernel arguments, with packets of 9000 bytes", .timeLimit(.minutes(40)))
  func vlan() async throws {
    try await withTurns(1) {
      try await withAppliance { site, appliance in
        var configuration = Machine.Configuration(number: 1)
        configuration.vlan = 42
        try await appliance.run("node", "add", configuration.mac.description, "tagged")
        try await appliance.run(
          "node", "set", "kernelArgs", "\(Machine.kernelArguments) perseid.vlan=42 perseid.mtu=9000", "tagged", "--yes")
        let machine = try await site.start(configuration)
        let node = try await appliance.node(of: machine, reaches: "ready", within: bootBound)
        let port = try #require(machine.port)
        #expect(machine.console.text.contains("perseid: eth0.42 \(machine.mac), address "))
        // The firmware booted untagged, and stage 1 and the node went on with the tag.
        let spoken = port.log.lines.filter { $0.contains("the machine speaks") }
        #expect(spoken.first?.contains("without a tag") == true, "\(spoken)")
        #expect(spoken.last?.contains("with tag 42") == true, "\(spoken)")
        // One packet, which no router on the way may cut.
        let address = try #require(node.address)
        try await site.server.command("ping", "-c", "1", "-w", "60", "-M", "do", "-s", "8972", address)
          .run(timeout: .seconds(90)).check()
        await machine.powerOff()
      }
    }
  }

  @Test(
    "waits for a card whose cable comes late, shows it on screen and serial console alike, and lets a person look around",
    .timeLimit(.minutes(40)))
  func lateCable() async throws {
    try await withTurns(1) {
      try await withAppliance { site, appliance in
        try await appliance.run(
          "group", "set", "kernelArgs",
          "\(Machine.kernelArguments) perseid.linkwait=2 perseid.debug=3 perseid.shell", "cluster", "--yes")
        var configuration = Machine.Configuration(number: 1)
        configuration.hasScreen = true
        let machine = try await site.start(configuration)
        try await machine.console.line(containing: "Linux version", within: bootBound)
        try await machine.setLink(false)
        try await machine.console.line(containing: "link failed: no carrier in 2 s on eth0", within: bootBound)
        try await answer(
          of: machine, after: "link failed: a shell", to: "echo $((6*7)): $(cat /proc/sys/kernel/printk)",
          contains: "42: 8")
        let screen = try await machine.screen()
        for words in [
          "perseid: stage 1, Linux 6.1", "perseid: modules done in ", "perseid: link failed: no carrier in 2 s on eth0",
          "perseid:   tried again in ", "perseid: link failed: a shell",
        ] {
          #expect(screen.contains(words), "'\(words)' is not on the screen")
          #expect(machine.console.text.contains(words), "'\(words)' is not on the serial console")
        }
        // What each level of perseid.debug shows: what a step is for, the drivers, the plan.
        for words in ["link: the card that booted is up and has a carrier?", "modules: ", "virtio_net"] {
          #expect(machine.console.text.contains(words), "\(words)")
        }
        try await machine.setLink(true)
        try machine.type("exit")
        try await answer(
          of: machine, after: "before switching root: a shell", to: "echo root $(ls /newroot | grep -c usr)",
          contains: "root 1")
        for words in ["  50-root of ", "  NODENAME="] { #expect(machine.console.text.contains(words), "\(words)") }
        let bar = "perseid: root [##############################] 100% of "
        #expect(machine.console.text.contains(bar))
        #expect(try await machine.screen().contains(bar))
        try machine.type("exit")
        try await appliance.node(of: machine, reaches: "ready", within: bootBound)
        await machine.powerOff()
      }
    }
  }

  /// Types a command to the shell that is there after a line, and waits for its answer.
  private func answer(
    of machine: Machine, after line: String, to command: String, contains words: String
  ) async throws {
    try await machine.console.line(containing: line, within: bootBound)
    try machine.type(command)
    try await machine.console.line("the answer to \(command)", within: bootBound) { $0.contains(words) }
  }
}

@Suite("Stage 1 and a root that cannot be had", .enabled(if: NetworkNamespace.isAvailable, "needs private namespaces"))
struct Stage1RefusalTests {
  @Test("says in figures that memory is too little, on the console and to the appliance", .timeLimit(.minutes(40)))
  func littleMemory() async throws {
    try await withTurns(1) {
      try await withAppliance { site, appliance in
        var configuration = Machine.Configuration(number: 1, processors: 1)
        configuration.memory = 512
        let machine = try await site.start(configuration)
        try await machine.console.line("what memory is there", within: bootBound) { isComplaint($0) }
        try await waitForEvent(of: machine, appliance) { $0.source == "step" && isComplaint($0.detail) }
        #expect(machine.console.text.contains("perseid:   tried again in "))
        await machine.powerOff()
      }
    }
  }

  @Test(
    "refuses a corrupted frame, reports it, and goes on as soon as the appliance has the right one",
    .timeLimit(.minutes(40)))
  func corruptedFrame() async throws {
    try await withTurns(1) {
      try await withAppliance { site, appliance in
        let blob = try await rootParts(appliance).blob
        let file = try FileHandle(forUpdating: URL(fileURLWithPath: "\(appliance.state)/blobs/sha256/\(blob)"))
        func flip() throws {
          try file.seek(toOffset: 30_000_000)
          let byte = try #require(try file.read(upToCount: 1)?.first)
          try file.seek(toOffset: 30_000_000)
          try file.write(contentsOf: Data([byte ^ 0x10]))
        }
        try flip()
        let machine = try await site.start(.init(number: 1))
        try await machine.console.line("a refusal", within: bootBound) {
          $0.contains(/frame \d+ of \d+ of http:.* is corrupted/)
        }
        try await waitForEvent(of: machine, appliance) { $0.source == "step" && $0.detail.contains("is corrupted") }
        #expect(!machine.console.text.contains("Welcome to Debian"))
        try flip()
        try await appliance.node(of: machine, reaches: "ready", within: bootBound)
        await machine.powerOff()
      }
    }
  }

  @Sendable private func isComplaint(_ text: String) -> Bool {
    text.contains(/the root needs \d+ MiB of memory and \d+ MiB beside it; \d+ MiB are free/)
  }
}

/// Waits until the timeline of a machine's node has an event.
@discardableResult
private func waitForEvent(
  of machine: Machine, _ appliance: Appliance, _ matches: (TimelineEntry) -> Bool
) async throws -> TimelineEntry {
  let deadline = ContinuousClock.now + bootBound
  let watch = try RunningProcess(appliance.command("watch"))
  defer { watch.signal(15) }
  while true {
    let position = watch.log.position
    if let node = try await appliance.node(machine.mac),
      let entry = try await appliance.timeline(node.name).last(where: matches)
    {
      return entry
    }
    guard ContinuousClock.now < deadline else {
      throw LabError("the event did not come; \(await appliance.whereItIs(machine))")
    }
    _ = try? await watch.log.line("an event", from: position, within: .seconds(5)) { !$0.isEmpty }
  }
}
