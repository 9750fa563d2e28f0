import Foundation
import Lab
import NetworkTypes
import Testing

@Suite("Nodescripts and modules", .enabled(if: NetworkNamespace.isAvailable, "needs private namespaces"))
struct ModuleBootTests {
  /// etc/modules of the sources.
  private static let modules: String = {
    let folders = #filePath.split(separator: "/").dropLast(3)
    return "/" + (folders + ["etc", "modules"]).joined(separator: "/")
  }()

  private func write(_ text: String, to file: String) throws {
    let folder = (file as NSString).deletingLastPathComponent
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    try text.write(toFile: file, atomically: true, encoding: .utf8)
  }

  /// What a step of a node printed, once it is done.
  func output(of step: String, on node: String, _ appliance: Appliance) async throws -> String {
    let deadline = ContinuousClock.now + .seconds(300)
    let watch = try RunningProcess(appliance.command("watch"))
    defer { watch.signal(15) }
    while true {
      let position = watch.log.position
      let timeline = try await appliance.timeline(node)
      if let event = timeline.last(where: { $0.source == "step" && $0.event == "\(step) done" }) { return event.detail }
      if let event = timeline.last(where: { $0.source == "step" && $0.event == "\(step) failed" }) {
        throw LabError("\(step) failed on \(node): \(event.detail)")
      }
      guard deadline > .now else { throw LabError("\(node) did not come to \(step): \(timeline.map(\.event))") }
      _ = try? await watch.log.line("an event", from: position, within: .seconds(5)) { !$0.isEmpty }
    }
  }

  @Test("of all levels run in their order on the right nodes, and modules are at work there", .timeLimit(.minutes(40)))
  func levels() async throws {
    var settings = Appliance.Settings()
    settings.defaultCapsule = "services"
    settings.extra = "states: { readyIntervalSeconds: 5 }"
    try await withTurns(2) {
      try await withAppliance(suites: ["bookworm", "services"], settings: settings) { site, appliance in
        let services = try await SiteServices(site)
        defer { services.signal() }
        let one = Machine.Configuration(number: 1, processors: 1)
        let two = Machine.Configuration(number: 2, processors: 1)
        try await appliance.run("node", "add", one.mac.description, "one", "--group", "cluster,foo")
        try await appliance.run("node", "add", two.mac.description, "two")
        for (level, name) in [
          ("vnfs/services", "05-a"), ("vnfs/services", "20-b"), ("vnfs/services", "70-e"), ("all", "05-a"),
          ("all", "10-c"), ("group/foo", "20-b"), ("node/one", "10-c"),
        ] {
          try write("echo \(level) $NODENAME\n", to: "\(appliance.state)/nodescripts/init/\(level)/\(name)")
        }
        let motd = site.directory + "/motd"
        try write(
          """
          name: motd
          version: "1"
          roles: [init/all]
          files: [{ path: /etc/motd, template: templates/motd, owner: "daemon:adm", mode: "0640" }]
          """, to: motd + "/module.yaml")
        try write("{{node.name}} {{#nodes}}<{{name}}>{{/nodes}}\n", to: motd + "/templates/motd")
        try write("ann:x:2000:2000::/home/ann:/bin/sh\n", to: appliance.state + "/modulefiles/passwdfile/passwd")
        try write("ssh-ed25519 AAAA root@master\n", to: appliance.state + "/modulefiles/masterauth/authorized_keys")
        try await appliance.run("module", "import", motd)
        try await appliance.run("module", "activate", "motd")
        for module in ["hostname", "hosts", "passwdfile", "masterauth"] {
          try await appliance.run("module", "import", "\(Self.modules)/\(module)")
          try await appliance.run("module", "activate", module, "init/all")
        }
        try await prepareServices(services, appliance)
        try write(
          """
          cat /etc/hostname /proc/sys/kernel/hostname /etc/motd /root/.ssh/authorized_keys
          stat -c '%n %U:%G %a' /etc/motd /root/.ssh/authorized_keys /etc/ssh/ssh_host_ed25519_key
          getent passwd ann
          getent hosts $NODENAME
          """, to: "\(appliance.state)/nodescripts/ready/all/80-look")

        let first = try await site.start(one)
        let second = try await site.start(two)
        try await appliance.node(of: first, reaches: "ready", within: bootBound)
        try await appliance.node(of: second, reaches: "ready", within: bootBound)
        for (node, expected) in [
          ("one", ["05-a all one", "10-c node/one one", "20-b group/foo one", "70-e vnfs/services one"]),
          ("two", ["05-a all two", "10-c all two", "20-b vnfs/services two", "70-e vnfs/services two"]),
        ] {
          let look = try await output(of: "80-look", on: node, appliance)
          for words in [
            "\(node)\n\(node)\n\(node) <one><two>", "ssh-ed25519 AAAA root@master", "/etc/motd daemon:adm 640",
            "/root/.ssh/authorized_keys root:root 600", "/etc/ssh/ssh_host_ed25519_key root:root 600",
            "ann:x:2000:2000::/home/ann:/bin/sh", "10.77.0.",
          ] { #expect(look.contains(words), "\(words) on \(node): \(look)") }
          try await checkServices(of: node, services, try await output(of: "85-services", on: node, appliance))
          let done = try await appliance.timeline(node).filter { $0.source == "step" && $0.event.hasSuffix(" done") }
          let own = ["05-a", "10-c", "20-b", "70-e"]
          let seen = done.compactMap { event in
            let step = String(event.event.dropLast(" done".count))
            return own.contains(step) ? "\(step) \(event.detail.trimmingCharacters(in: .whitespacesAndNewlines))" : nil
          }
          #expect(seen == expected, "\(node)")
          let order = done.map(\.event)
          #expect(
            try #require(order.firstIndex(of: "50-root done")) < #require(order.firstIndex(of: "60-hostname done")))
        }
        #expect(try await appliance.run("node", "why", "one").contains("/etc/motd"))
        try await bootIntoAnother("two", appliance)
        await first.powerOff()
        await second.powerOff()
      }
    }
  }

  // MARK: - Modules whose work shows in the running node alone

  private func prepareServices(_ services: SiteServices, _ appliance: Appliance) async throws {
    try FileManager.default.createDirectory(
      atPath: appliance.state + "/modulefiles/slurm", withIntermediateDirectories: true)
    try FileManager.default.copyItem(
      atPath: services.mungeKey, toPath: appliance.state + "/modulefiles/slurm/munge.key")
    for module in ["slurm", "mounts", "timesync", "syncnodes"] {
      try await appliance.run("module", "import", "\(Self.modules)/\(module)")
    }
    for module in ["slurm", "timesync"] + (services.hasNFS ? ["mounts"] : []) {
      try await appliance.run("module", "activate", module, "init/vnfs/services")
    }
    try await appliance.run("module", "activate", "syncnodes", "ready/node/two")
    try await appliance.run("group", "set", "var.slurm_controller", "10.77.0.1:6817", "cluster", "--yes")
    try await appliance.run("group", "set", "var.mounts", "10.77.0.1:/share=/share=nfsvers=4", "cluster", "--yes")
    // A machine whose clock is years behind.
    try write("date -s '2024-01-01 00:00'\n", to: appliance.state + "/nodescripts/init/node/two/75-clock")
    // Scripts of ready come again and again, and munge decodes a credential once.
    try write(
      """
      #!/bin/sh
      # perseid: timeout=600
      work() {
        chronyc -n waitsync 120 0 0 1
        chronyc -n tracking | grep '^Reference ID'
        echo "time $(date +%s)"
        printf %s '\(services.credential)' | unmunge
        echo "credential $(munge --ttl=3600 -s "from $NODENAME")"
        grep -q x-perseid /etc/fstab || return 0
        for second in $(seq 120); do mountpoint -q /share && break; sleep 1; done
        grep ' /share ' /proc/mounts
        cat /share/greeting
        echo "$NODENAME was here" > /share/$NODENAME
      }
      [ -s /run/services ] || work > /run/services 2>&1
      cat /run/services
      """, to: appliance.state + "/nodescripts/ready/vnfs/services/85-services")
    // A user's process, until somebody ends it.
    try write(
      "[ -e /run/job ] || systemd-run --quiet --unit=job --uid=ann sleep infinity\n: > /run/job\n",
      to: appliance.state + "/nodescripts/ready/vnfs/services/87-job")
  }

  private func checkServices(of node: String, _ services: SiteServices, _ output: String) async throws {
    // chrony names an IPv4 server by its address in hexadecimal.
    #expect(output.contains("Reference ID    : 0A4D0001"), "timesync on \(node): \(output)")
    let time = try #require(value(of: "time ", in: output).flatMap { Double($0) }, "\(output)")
    #expect(abs(time - Date().timeIntervalSince1970) < 3600, "timesync on \(node): \(output)")
    #expect(output.contains("from the server"), "slurm's munge key on \(node): \(output)")
    let credential = try #require(value(of: "credential ", in: output), "\(output)")
    #expect(try await services.decode(credential).contains("from \(node)"), "slurm's munge key on \(node)")
    if services.hasNFS {
      #expect(output.contains("10.77.0.1:/share /share nfs4 "), "mounts on \(node): \(output)")
      #expect(output.contains(SiteServices.greeting), "mounts on \(node): \(output)")
      let written = try? String(contentsOfFile: services.share + "/" + node, encoding: .utf8)
      #expect(written == "\(node) was here\n")
    }
  }

  private func value(of name: String, in output: String) -> String? {
    output.split(separator: "\n").first { $0.hasPrefix(name) }.map { String($0.dropFirst(name.count)) }
  }

  /// syncnodes: once the capsule is another one, the node boots into it, and not while a user's process is there.
  private func bootIntoAnother(_ node: String, _ appliance: Appliance) async throws {
    let first = try await appliance.timeline(node).last?.boot
    try await appliance.run("node", "set", "vnfs", "debian-12", node, "--yes")
    try await appliance.event(of: node, "90-syncnodes waits for the user's process", within: bootBound) {
      $0.event == "90-syncnodes done" && $0.detail.contains("debian-12:1 waits: process")
    }
    try write("systemctl stop job\n", to: "\(appliance.state)/nodescripts/ready/node/\(node)/88-end")
    try await appliance.event(of: node, "ready in the new capsule", within: bootBound * 2) {
      $0.source == "state" && $0.event == "ready" && $0.boot != first
    }
    let script = try await appliance.timeline(node).last { $0.event == "script" }
    #expect(script?.detail.contains("capsule debian-12") == true, "\(String(describing: script))")
  }
}

extension Appliance {
  /// Waits for an event of a node's timeline.
  fileprivate func event(
    of node: String, _ what: String, within limit: Duration, _ matches: (TimelineEntry) -> Bool
  ) async throws {
    let deadline = ContinuousClock.now + limit
    let watch = try RunningProcess(command("watch"))
    defer { watch.signal(15) }
    while true {
      let position = watch.log.position
      let timeline = try await timeline(node)
      if timeline.contains(where: matches) { return }
      guard deadline > .now else {
        throw LabError("\(node): \(what) did not come: \(timeline.suffix(12).map { "\($0.event) \($0.detail)" })")
      }
      _ = try? await watch.log.line("an event", from: position, within: .seconds(5)) { !$0.isEmpty }
    }
  }
}
