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
  private func output(of step: String, on node: String, _ appliance: Appliance) async throws -> String {
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
    try await withTurns(2) {
      try await withAppliance { site, appliance in
        let one = Machine.Configuration(number: 1, processors: 1)
        let two = Machine.Configuration(number: 2, processors: 1)
        try await appliance.run("node", "add", one.mac.description, "one", "--group", "cluster,foo")
        try await appliance.run("node", "add", two.mac.description, "two")
        for (level, name) in [
          ("vnfs/debian-12", "05-a"), ("vnfs/debian-12", "20-b"), ("vnfs/debian-12", "70-e"), ("all", "05-a"),
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
          ("one", ["05-a all one", "10-c node/one one", "20-b group/foo one", "70-e vnfs/debian-12 one"]),
          ("two", ["05-a all two", "10-c all two", "20-b vnfs/debian-12 two", "70-e vnfs/debian-12 two"]),
        ] {
          let look = try await output(of: "80-look", on: node, appliance)
          for words in [
            "\(node)\n\(node)\n\(node) <one><two>", "ssh-ed25519 AAAA root@master", "/etc/motd daemon:adm 640",
            "/root/.ssh/authorized_keys root:root 600", "/etc/ssh/ssh_host_ed25519_key root:root 600",
            "ann:x:2000:2000::/home/ann:/bin/sh", "10.77.0.",
          ] { #expect(look.contains(words), "\(words) on \(node): \(look)") }
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
        await first.powerOff()
        await second.powerOff()
      }
    }
  }
}
