import Glibc
import NetworkTypes
import Stage1
import StateClient
import Testing

@Suite("The network of the kernel command line")
struct NetworkTests {
  /// Keeps what is set, and has every carrier but those that are named.
  final class Recorder: InterfaceControl, Sendable {
    let done = Monitor([String]())
    let withoutCarrier: Set<String>
    let refusesMTU: Bool
    let broken: Set<String>

    init(withoutCarrier: Set<String> = [], refusesMTU: Bool = false, broken: Set<String> = []) {
      self.withoutCarrier = withoutCarrier
      self.broken = broken
      self.refusesMTU = refusesMTU
    }

    var notes: [String] { done.update { $0 } }
    private func note(_ text: String) { done.update { $0.append(text) } }

    func bringUp(_ name: String) throws(SystemError) {
      if broken.contains(name) { throw SystemError("bring \(name) up", code: ENOENT) }
      note("up \(name)")
    }
    func bringDown(_ name: String) throws(SystemError) { note("down \(name)") }
    func setAddress(_ address: IPv4Address, prefixLength: Int, on name: String) throws(SystemError) {
      note("address \(address)/\(prefixLength) \(name)")
    }
    func addRoute(to destination: IPv4Subnet, through router: IPv4Address, on name: String) throws(SystemError) {
      note("route \(destination) \(router) \(name)")
    }
    func setMTU(_ bytes: UInt16, on name: String) throws(SystemError) {
      if refusesMTU { throw SystemError("set packets of \(bytes) bytes on \(name)", code: EINVAL) }
      note("mtu \(bytes) \(name)")
    }
    func hasCarrier(_ name: String) -> Bool? { !withoutCarrier.contains(name) && !broken.contains(name) }
    func exists(_ name: String) -> Bool { notes.contains { $0 == "bond \(name)" || $0.hasSuffix("as \(name)") } }
    func addVLAN(_ id: UInt16, on base: String, named name: String) throws(SystemError) {
      note("vlan \(id) on \(base) as \(name)")
    }
    func addBond(_ name: String) throws(SystemError) { note("bond \(name)") }
    func setBond(_ option: String, to value: String, of name: String) throws(SystemError) {
      note("\(name) \(option)=\(value)")
    }
    func members(ofBond name: String) -> [String] {
      notes.filter { $0.hasPrefix("member ") }.compactMap { $0.split(separator: " ").last.map(String.init) }
    }
    func addMember(_ member: String, toBond name: String) throws(SystemError) { note("member \(member)") }
  }

  static let cards = [
    NetworkCard(name: "eth0", hardwareAddress: MACAddress("52:54:00:00:00:01")!),
    NetworkCard(name: "eth1", hardwareAddress: MACAddress("52:54:00:00:00:02")!),
  ]

  func link(
    _ line: String, _ recorder: Recorder, cards: @escaping () -> [NetworkCard] = { Self.cards }
  ) throws -> Boot {
    let boot = Boot(console: Console(descriptors: []), interfaces: recorder)
    boot.commandLine = KernelCommandLine(line)
    try Link.run(boot, cards: cards)
    return boot
  }

  @Test("the card that booted is taken, though another one has a carrier and comes first")
  func bootedCard() throws {
    let recorder = Recorder()
    let boot = try link("BOOTIF=01-52-54-00-00-00-02", recorder)
    #expect(boot.interface == "eth1")
    #expect(recorder.notes == ["up eth1"])
  }

  @Test("a card that cannot be brought up keeps no other from being taken; where none can, that is said")
  func brokenCard() throws {
    let recorder = Recorder(broken: ["eth0"])
    #expect(try link("", recorder).interface == "eth1")
    #expect(recorder.notes == ["up eth1"])
    #expect { try link("", Recorder(broken: ["eth0", "eth1"])) } throws: { "\($0)".contains("bring eth0 up") }
  }

  @Test("a card that appears late is waited for")
  func lateCard() throws {
    var looks = 0
    let boot = try link("BOOTIF=01-52-54-00-00-00-02 perseid.linkwait=600", Recorder()) {
      looks += 1
      return looks < 5 ? [Self.cards[0]] : Self.cards
    }
    #expect(boot.card?.name == "eth1")
  }

  @Test("a card without a carrier is passed over where none is named, and named in words where there is no other")
  func carrier() throws {
    #expect(try link("", Recorder(withoutCarrier: ["eth0"])).interface == "eth1")
    let error = #expect(throws: StepFailure.self) {
      try link("perseid.linkwait=1", Recorder(withoutCarrier: ["eth0", "eth1"]))
    }
    #expect(error?.what.contains("no carrier in 1 s on eth0 (52:54:00:00:00:01), eth1") == true)
  }

  @Test("a bond has its mode before its cards, the one that booted first, then packets of another size and the VLAN")
  func stack() throws {
    let recorder = Recorder()
    let boot = try link(
      "BOOTIF=01-52-54-00-00-00-02 perseid.bond=802.3ad:eth0,52-54-00-00-00-02:lacp_rate=fast perseid.mtu=9000 "
        + "perseid.vlan=42", recorder)
    #expect(boot.interface == "bond0.42")
    #expect(boot.card?.name == "eth1")
    #expect(
      recorder.notes == [
        "bond bond0", "down bond0", "bond0 mode=802.3ad", "bond0 miimon=100", "bond0 lacp_rate=fast", "down eth1",
        "member eth1", "down eth0", "member eth0", "up bond0", "mtu 9000 bond0", "vlan 42 on bond0 as bond0.42",
        "up bond0.42", "mtu 9000 bond0.42",
      ])
    // Another try finds all that there.
    try Link.run(boot) { Self.cards }
    #expect(recorder.notes.count { $0.hasPrefix("member") || $0.hasPrefix("bond bond0") || $0.hasPrefix("vlan") } == 4)
  }

  @Test("a bond begins with the cards that are there when half of the time is over")
  func partialBond() throws {
    let recorder = Recorder()
    let boot = try link("perseid.linkwait=1 perseid.bond=active-backup:eth0,eth1", recorder) { [Self.cards[0]] }
    #expect(boot.interface == "bond0")
    #expect(recorder.notes.contains("member eth0"))
  }

  @Test("InfiniBand is taken by its argument: the port with a carrier, under the address that the node was added with")
  func infiniBand() throws {
    let port = { (name: String, last: UInt8) in
      NetworkCard(
        name: name, hardwareAddress: MACAddress(rawValue: 0xF452_1412_3400 + UInt64(last)),
        clientIdentifier: [255, last])
    }
    func link(_ line: String) throws -> Boot {
      let boot = Boot(console: Console(descriptors: []), interfaces: Recorder(withoutCarrier: ["ib0"]))
      boot.commandLine = KernelCommandLine("BOOTIF=01-52-54-00-00-00-02 perseid.linkwait=1 " + line)
      try Link.run(boot, cards: { Self.cards }, infiniBand: { [port("ib0", 1), port("ib1", 2)] })
      return boot
    }
    let boot = try link("perseid.infiniband perseid.mtu=2044")
    #expect(boot.interface == "ib1" && boot.card?.clientIdentifier == [255, 2])
    #expect(boot.card?.hardwareAddress == MACAddress("52:54:00:00:00:02"))
    #expect(try link("").interface == "eth1")
    let error = #expect(throws: StepFailure.self) { try link("perseid.infiniband=ib0") }
    #expect(error?.what.contains("no carrier in 1 s on ib0") == true)
  }

  @Test("packets that the card cannot send leave the size as it is")
  func refusedMTU() throws {
    #expect(try link("perseid.mtu=9000", Recorder(refusesMTU: true)).interface == "eth0")
  }

  @Test("ip= is read as the kernel reads it")
  func staticAddress() throws {
    let settings = try NetworkSettings(
      KernelCommandLine("ip=10.0.0.5:10.0.0.1:10.0.0.254:255.255.252.0:n0005:eth1:none:10.0.0.2::10.0.0.3"))
    let address = try #require(settings.address)
    #expect(address.address == IPv4Address("10.0.0.5") && address.prefixLength == 22)
    #expect(address.server == IPv4Address("10.0.0.1") && address.router == IPv4Address("10.0.0.254"))
    #expect(address.hostName == "n0005" && address.device == "eth1")
    #expect(address.nameServers == [IPv4Address("10.0.0.2")!] && address.timeServers == [IPv4Address("10.0.0.3")!])
    for text in ["ip=dhcp", "ip=:::::eth0:dhcp", "ip=10.0.0.5::::::dhcp", "quiet"] {
      #expect(try NetworkSettings(KernelCommandLine(text)).address == nil)
    }
    #expect(try NetworkSettings(KernelCommandLine("ip=10.0.0.5:::24")).address?.prefixLength == 24)
    #expect(try link("ip=10.0.0.5:::24::eth1:off", Recorder()).interface == "eth1")
  }

  @Test(
    "a word that cannot be obeyed is named",
    arguments: [
      "perseid.vlan=0", "perseid.vlan=4095", "perseid.mtu=100", "perseid.bond=eth0,eth1", "perseid.bond=fast:eth0",
      "perseid.bond=802.3ad:", "perseid.bond=802.3ad:eth0:../x=1", "ip=10.0.0.5", "ip=10.0.0.5:::255.0.255.0",
      "ip=10.0.0.5::x:24", "perseid.vlan=3 perseid.infiniband",
    ])
  func refused(word: String) throws {
    let error = #expect(throws: StepFailure.self) { try NetworkSettings(KernelCommandLine(word)) }
    #expect(error?.what.contains(word.split(separator: "=")[0]) == true)
  }
}
