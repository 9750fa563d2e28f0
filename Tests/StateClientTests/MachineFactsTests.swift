import Glibc
import NetworkTypes
import StateClient
import StateProtocol
import TestSupport
import Testing

@Suite("What a machine says of itself")
struct MachineFactsTests {
  @Test("is read from SMBIOS, disks and cards as Linux shows them, and leaves out what is not there")
  func reads() throws {
    let directory = try TemporaryDirectory()
    let system = directory.path
    func put(_ path: String, _ text: String) throws {
      let whole = system + "/" + path
      try SmallFile.makeDirectories(String(whole[..<(whole.lastIndex(of: "/") ?? whole.endIndex)]))
      try SmallFile.write(whole, Array((text + "\n").utf8))
    }
    try put("class/dmi/id/sys_vendor", "ACME")
    try put("class/dmi/id/product_name", "Rocket 9")
    try put("class/dmi/id/product_serial", "")
    try put("block/sda/size", "2048")
    try put("block/sda/device/model", "SPINNER  ")
    try put("block/loop0/size", "99")
    try put("block/sr0/size", "0")
    try put("block/sr0/device/model", "EMPTY")
    try put("class/net/eth0/device/x", "")
    try put("class/net/eth0/type", "1")
    try put("class/net/eth0/address", "52:54:00:00:00:01")
    try put("class/net/eth0/speed", "25000")
    try put("class/net/eth1/device/x", "")
    try put("class/net/eth1/type", "1")
    try put("class/net/eth1/address", "52:54:00:00:00:02")
    try put("class/net/eth1/speed", "-1")
    symlink("../../../bus/pci/drivers/mlx5_core", system + "/class/net/eth0/device/driver")
    let facts = MachineFacts.read(generation: "sha256:x", system: system)
    #expect(facts.vendor == "ACME" && facts.product == "Rocket 9" && facts.serial == nil && facts.guid == nil)
    #expect(facts.disks == [Facts.Disk(name: "sda", bytes: 1 << 20, model: "SPINNER")])
    #expect(
      facts.links == [
        Facts.Link(name: "eth0", mac: try #require(MACAddress("52:54:00:00:00:01")), speed: 25000, driver: "mlx5_core"),
        Facts.Link(name: "eth1", mac: try #require(MACAddress("52:54:00:00:00:02"))),
      ])
    #expect(facts.processors > 0 && facts.memoryBytes > 0 && facts.generation == "sha256:x")
  }

  @Test("InfiniBand ports are found with the identifier that DHCP knows them by, and are no Ethernet cards")
  func infiniBand() throws {
    let directory = try TemporaryDirectory()
    let system = directory.path
    func put(_ card: String, _ file: String, _ text: String) throws {
      try SmallFile.makeDirectories("\(system)/\(card)")
      try SmallFile.write("\(system)/\(card)/\(file)", Array((text + "\n").utf8))
    }
    let address = "80:00:02:08:fe:80:00:00:00:00:00:00:f4:52:14:03:00:12:34:56"
    for (card, type, address) in [
      ("eth0", "1", "52:54:00:00:00:01"), ("ib0", "32", address), ("ib0.8001", "32", address), ("ib1", "32", "80:00"),
    ] {
      try put(card, "type", type)
      try put(card, "address", address)
      try put(card + "/device", "x", "")
    }
    try put("ib0.8001", "parent", "ib0")
    #expect(NetworkCard.all(in: system).map(\.name) == ["eth0"])
    let ports = NetworkCard.infiniBand(in: system)
    #expect(ports.map(\.name) == ["ib0"])
    #expect(ports.first?.hardwareAddress == MACAddress("f4:52:14:12:34:56"))
    // As docs/nodes.md has it.
    let identifier = "ff:00:00:00:00:00:02:00:00:02:c9:00:f4:52:14:03:00:12:34:56"
    #expect(ports.first?.clientIdentifier == identifier.split(separator: ":").map { UInt8($0, radix: 16)! })
  }

  @Test("is read by an appliance that knows none of it, and one that says none of it is understood")
  func optional() throws {
    let old = #"{"kernelRelease":"6","memoryBytes":1,"processors":1,"uptimeSeconds":1}"#
    let facts: Facts = try ProtocolJSON.decode(from: Array(old.utf8), limit: 1000)
    #expect(facts.vendor == nil && facts.disks == nil)
  }
}
