import Foundation
import Lab
import NetworkTypes
import Testing

@Suite(
  "A card that only Debian's kernel for all machines drives",
  .enabled(if: NetworkNamespace.isAvailable, "needs private namespaces"))
struct CardTests {
  @Test(
    "its driver is in the initramfs with the firmware that drivers name, and the node boots by it though a virtio card comes first",
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
    try await appliance.run("group", "set", "kernelArgs", Machine.kernelArguments, "cluster", "--yes")
    try await appliance.run(
      "vnfs", "import", try Cache.initTree("generic"), "--name", "generic", "--yes", timeout: .seconds(300))
    try await checkInitramfs(appliance)

    var configuration = Machine.Configuration(number: 1)
    configuration.card = .e1000e
    configuration.otherCards = [.init(mac: MACAddress(rawValue: 0x5254_0000_0101), isOnSwitch: false)]
    let machine = try await site.start(configuration)
    let node = try await appliance.node(of: machine, reaches: "ready", within: bootBound)
    #expect(node.mac == machine.mac.description)
    #expect(machine.console.text.contains("e1000e: Intel(R) PRO/1000 Network Driver"))
    #expect(machine.console.text.contains("perseid: eth1 \(machine.mac), address 10.77.0."))
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
    let files = try await Command("bsdtar", "-tf", path(initramfs.digest)).run().check().output.split(separator: "\n")
    for driver in ["intel/e1000e/e1000e.ko", "broadcom/tg3.ko", "realtek/r8169.ko"] {
      #expect(files.contains { $0.hasSuffix("kernel/drivers/net/ethernet/\(driver)") }, "\(driver)")
    }
    #expect(files.contains { $0.hasSuffix("lib/firmware/rtl_nic/rtl8168h-2.fw") })
    #expect(!files.contains { $0.hasSuffix("nobody-names-it.bin") })
  }
}
