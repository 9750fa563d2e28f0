import Foundation
import Lab
import NetworkTypes
import Testing

@Suite(
  "A card that only Debian's kernel for all machines drives",
  .enabled(if: NetworkNamespace.isAvailable, "needs private namespaces"))
struct CardTests {
  @Test(
    "restarts where it looked for InfiniBand in vain, and boots by its card though a virtio card comes first",
    .timeLimit(.minutes(40)))
  func e1000e() async throws {
    try await withTurns(1) {
      try await Site.with { site in
        var settings = Appliance.Settings()
        settings.defaultCapsule = "generic"
        let appliance = try Appliance(site, state: site.directory + "/state", settings: settings)
        try await appliance.start()
        do {
          try await boot(site, appliance)
        } catch {
          await appliance.stop()
          throw LabError("\(error)\nthe appliance said last:\n\(appliance.log?.tail(20) ?? "")")
        }
        await appliance.stop()
      }
    }
  }

  private func boot(_ site: Site, _ appliance: Appliance) async throws {
    try await appliance.run(
      "vnfs", "import", try Cache.initTree("generic"), "--name", "generic", "--yes", timeout: .seconds(300))
    try await checkInitramfs(appliance)

    var configuration = Machine.Configuration(number: 1)
    configuration.card = .e1000e
    configuration.otherCards = [.init(mac: MACAddress(rawValue: 0x5254_0000_0101), isOnSwitch: false)]
    // First it looks for what it has not: IPoIB's modules load, and when that has gone on for too long it restarts.
    try await appliance.run("node", "add", configuration.mac.description, "two-cards")
    let search = "perseid.infiniband perseid.linkwait=1 perseid.restart=5 perseid.debug=2"
    try await appliance.run(
      "node", "set", "kernelArgs", "\(Machine.kernelArguments) \(search)", "two-cards", "--yes")
    let machine = try await site.start(configuration)
    try await machine.console.line(
      containing: "perseid: link failed: no network card appeared in 1 s", within: bootBound)
    try await appliance.run("node", "set", "kernelArgs", Machine.kernelArguments, "two-cards", "--yes")
    try await machine.console.line(containing: "perseid:   the machine restarts now: ", within: bootBound)
    #expect(machine.console.text.contains(/modules: .*ib_ipoib/))

    let node = try await appliance.node(of: machine, reaches: "ready", within: bootBound)
    #expect(node.mac == machine.mac.description)
    #expect(machine.console.text.contains("e1000e: Intel(R) PRO/1000 Network Driver"))
    #expect(
      machine.console.lines.contains {
        $0.hasPrefix("perseid: eth") && $0.contains(" \(machine.mac), address 10.77.0.")
      })
    await machine.powerOff()
  }

  private func checkInitramfs(_ appliance: Appliance) async throws {
    struct Shown: Decodable { var digest: String }
    struct Manifest: Decodable {
      struct Layer: Decodable {
        var mediaType: String
        var digest: String
      }
      var layers: [Layer]
    }
    func path(_ digest: String) -> String { "\(appliance.state)/blobs/sha256/\(digest.dropFirst("sha256:".count))" }
    let shown = try await appliance.json(Shown.self, "vnfs", "show", "generic")
    let manifest = try JSONDecoder().decode(
      Manifest.self, from: try Data(contentsOf: URL(filePath: path(shown.digest))))
    let initramfs = try #require(
      manifest.layers.first { $0.mediaType == "application/vnd.perseid.capsule.initramfs.v1" })
    // zstd complains of the zeros at its end, which the kernel passes over.
    let files = try await Command(
      "sh", "-c", "zstd -dcq \"$1\" 2>/dev/null | cpio -it --quiet", "sh", path(initramfs.digest)
    ).run().check().output.split(separator: "\n")
    for driver in ["intel/e1000e/e1000e.ko", "broadcom/tg3.ko", "realtek/r8169.ko"] {
      #expect(files.contains { $0.hasSuffix("kernel/drivers/net/ethernet/\(driver)") }, "\(driver)")
    }
    #expect(files.contains { $0.hasSuffix("lib/firmware/rtl_nic/rtl8168h-2.fw") })
    #expect(!files.contains { $0.hasSuffix("nobody-names-it.bin") })
  }
}
