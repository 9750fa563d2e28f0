import NetworkTypes
import Testing

@testable import Provisioner

@Suite("The first configuration")
struct FirstConfigurationTests {
  private func interface(_ name: String, _ address: String?, _ prefix: Int = 24) -> SystemInterface {
    SystemInterface(
      name: name, index: 1, address: address.flatMap { IPv4Address($0) }, prefixLength: prefix,
      isLoopback: name == "lo")
  }

  @Test("is for the only interface that leads nowhere else")
  func chosen() throws {
    let system = [
      interface("lo", "127.0.0.1", 8), interface("eth0", "192.168.1.5"), interface("eth1", "10.0.0.1", 16),
      interface("docker0", "172.17.0.1", 16), interface("eth2", nil),
    ]
    let found = try FirstConfiguration.interface(nil, of: system, outward: ["eth0"])
    #expect(found.name == "eth1")
    let text = FirstConfiguration.text(found)
    let configuration = try Configuration.parse(yaml: text, file: "first.yaml")
    #expect(configuration.network.interfaces == ["eth1"])
    #expect(try configuration.resolve(system).first?.pool == configuration.dhcp.pool)
    #expect(try FirstConfiguration.interface("eth0", of: system, outward: ["eth0"]).name == "eth0")
  }

  @Test("is not guessed where several could be meant, or none: the message lists what there is")
  func refused() throws {
    let both = [interface("eth1", "10.0.0.1"), interface("eth2", "10.1.0.1")]
    for (wanted, system, words) in [
      (nil, both, "eth1 (10.0.0.1/24), eth2 (10.1.0.1/24)"), (nil, [interface("eth0", "10.0.0.1")], "leads outside"),
      (nil, [], "none but loopback"), ("eth1", [interface("eth1", nil)], "ip address add"),
      ("eth9", both, "no interface eth9"),
    ] as [(String?, [SystemInterface], String)] {
      let error = #expect(throws: ApplianceError.self) {
        try FirstConfiguration.interface(wanted, of: system, outward: ["eth0"])
      }
      #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
    }
  }

  @Test("knows from the kernel's table which interfaces lead outside")
  func routes() {
    let table =
      "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n"
      + "eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
      + "eth1\t0000000A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
    #expect(FirstConfiguration.outward(table) == ["eth0"])
    #expect(FirstConfiguration.outward("") == [])
  }
}
