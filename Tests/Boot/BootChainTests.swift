import Foundation
import Lab
import NetworkTypes
import Testing

@Suite("With another loader than iPXE", .enabled(if: NetworkNamespace.isAvailable, "needs private namespaces"))
struct BootChainTests {
  @Test(
    "a bare machine is ready in its capsule, and its timeline names every file it loaded",
    .timeLimit(.minutes(40)),
    arguments: [
      (Machine.Firmware.bios, "pxelinux", ["pxelinux.0", "ldlinux.c32"]),
      (.uefi, "grub", ["shimx64.efi", "grubx64.efi"]),
      (.uefiSecureBoot, "grub", ["shimx64.efi", "grubx64.efi"]),
    ])
  func boots(firmware: Machine.Firmware, method: String, loaders: [String]) async throws {
    try await withTurns(1) {
      try await withAppliance { site, appliance in
        let configuration = Machine.Configuration(number: 1, firmware: firmware)
        let name = try await add(configuration.mac, method, appliance)
        let machine = try await site.start(configuration)
        let node = try await appliance.node(of: machine, reaches: "ready", within: bootBound)
        #expect(node.name == name)
        #expect(machine.console.text.contains("Debian GNU/Linux 12"))
        let timeline = try await appliance.timeline(name)
        let boot = try #require(timeline.last?.boot)
        #expect(timeline.allSatisfy { $0.boot == boot })
        let loaded = timeline.filter { $0.source == "tftp" && $0.event == "finished" }.map(\.detail)
        for file in loaders + ["b/\(boot)/kernel", "b/\(boot)/initramfs"] {
          #expect(loaded.contains { $0.contains(file) }, "\(file) is not among \(loaded)")
        }
        #expect(!timeline.contains { $0.detail.contains("gets iPXE") || $0.source == "http" && $0.event == "script" })
        #expect(timeline.contains { $0.source == "tftp" && $0.event == "script" })
        // What the kernel says of it: modules without a signature are refused from then on, and ours were loaded.
        #expect(machine.console.text.contains("Secure boot enabled") == (firmware == .uefiSecureBoot))
        await machine.powerOff()
      }
    }
  }

  @Test(
    "a machine that nobody named, with Secure Boot on, boots by itself: iPXE is refused, then it gets shim and GRUB",
    .timeLimit(.minutes(40)))
  func unknownWithSecureBoot() async throws {
    try await withTurns(1) {
      try await withAppliance { site, appliance in
        let watch = try RunningProcess(appliance.command("watch"))
        defer { watch.signal(15) }
        let refused = try await site.start(.init(number: 1, firmware: .uefiSecureBoot))
        try await watch.log.line("iPXE is loaded", within: bootBound) {
          $0.contains("finished") && $0.contains("snponly.efi")
        }
        // The firmware says on its console that it may not run it, and goes on to what else there is to boot.
        try await refused.console.line("iPXE is refused", within: bootBound) {
          $0.contains("Access Denied") || $0.contains("Security Violation")
        }
        await refused.powerOff()
        let machine = try await site.start(.init(number: 1, firmware: .uefiSecureBoot))
        let node = try await appliance.node(of: machine, reaches: "ready", within: bootBound)
        #expect(machine.console.text.contains("Secure boot enabled"))
        let timeline = try await appliance.timeline(node.name)
        #expect(timeline.contains { $0.event == "strategy" && $0.detail.contains("shim and GRUB") })
        await machine.powerOff()
      }
    }
  }

  @Test("with Secure Boot an altered kernel is refused, and the timeline says so", .timeLimit(.minutes(40)))
  func alteredKernel() async throws {
    try await withTurns(1) {
      try await withAppliance { site, appliance in
        let configuration = Machine.Configuration(number: 1, firmware: .uefiSecureBoot)
        let name = try await add(configuration.mac, "grub", appliance)
        try await alterKernel("debian-12", appliance)
        let watch = try RunningProcess(appliance.command("watch"))
        let machine = try await site.start(configuration)
        do {
          try await watch.log.line(containing: "kernel refused", within: bootBound)
        } catch {
          throw LabError("\(error); \(await appliance.whereItIs(machine))")
        }
        // It does not give up: the kernel may be replaced by a good one meanwhile.
        try await machine.console.line(containing: "Perseid: next try in", within: .seconds(60))
        #expect(machine.console.text.contains("bad shim signature"))
        let refused = try await appliance.timeline(name).filter { $0.event == "kernel refused" }
        #expect(refused.first?.detail.contains("Secure Boot") == true)
        #expect(try await appliance.node(machine.mac)?.state == "booting")
        watch.signal(15)
        await machine.powerOff()
      }
    }
  }

  @Test(
    "a machine whose capsule is not there asks again by itself, and boots when it has one",
    .timeLimit(.minutes(40)), arguments: [(Machine.Firmware.bios, "pxelinux"), (.uefi, "grub")])
  func waits(firmware: Machine.Firmware, method: String) async throws {
    var settings = Appliance.Settings()
    settings.defaultCapsule = "not-imported"
    try await withTurns(1) {
      try await withAppliance(settings: settings) { site, appliance in
        let configuration = Machine.Configuration(number: 1, firmware: firmware)
        let name = try await add(configuration.mac, method, appliance)
        let watch = try RunningProcess(appliance.command("watch"))
        let machine = try await site.start(configuration)
        do {
          try await watch.log.line(containing: "asked before", within: bootBound)
        } catch {
          throw LabError("\(error); \(await appliance.whereItIs(machine))")
        }
        watch.signal(15)
        #expect(machine.console.text.contains("capsule not-imported of \(name) is not there"))
        try await appliance.run("node", "set", "vnfs", "debian-12", name, "--yes")
        try await appliance.node(of: machine, reaches: "init", within: bootBound)
        await machine.powerOff()
      }
    }
  }

  /// Makes a machine a node before it boots.
  private func add(_ mac: MACAddress, _ method: String, _ appliance: Appliance) async throws -> String {
    try await appliance.run("node", "add", mac.description, "chained")
    try await appliance.run("node", "set", "boot", method, "chained", "--yes")
    return "chained"
  }

  /// Changes one byte in the middle of a capsule's kernel, behind the appliance's back.
  private func alterKernel(_ capsule: String, _ appliance: Appliance) async throws {
    struct Shown: Decodable { var digest: String }
    struct Manifest: Decodable {
      struct Layer: Decodable {
        var mediaType: String
        var digest: String
      }
      var layers: [Layer]
    }
    func path(_ digest: String) -> String { "\(appliance.state)/blobs/sha256/\(digest.dropFirst("sha256:".count))" }
    let shown = try await appliance.json(Shown.self, "vnfs", "show", capsule)
    let manifest = try JSONDecoder().decode(
      Manifest.self, from: try Data(contentsOf: URL(filePath: path(shown.digest))))
    let kernel = path(try #require(manifest.layers.first { $0.mediaType.contains("kernel") }).digest)
    var bytes = try Data(contentsOf: URL(filePath: kernel))
    bytes[bytes.count / 2] ^= 1
    try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: kernel)
    try bytes.write(to: URL(filePath: kernel))
  }
}
