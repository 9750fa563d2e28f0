import ConfigurationFile
import DHCPWire
import NetworkTypes
import StateProtocol
import Testing

@testable import Provisioner

@Suite("The configuration file")
struct ConfigurationTests {
  @Test("Only the interface is needed, and everything else has its documented default")
  func defaults() throws {
    let configuration = try Configuration.parse(yaml: "network: { interface: eth1 }\n", file: "p.yaml")
    #expect(configuration.network.interfaces == ["eth1"] && configuration.network.answerRouterSearch)
    #expect(configuration.dhcp == Configuration.DHCP())
    #expect(configuration.dhcp.mode == .authoritative && configuration.dhcp.leaseSeconds == 3600)
    #expect(configuration.tftp.port == 69 && configuration.provisioner.port == 9870 && configuration.admin.port == 0)
    #expect(!configuration.tftp.singlePort)
    #expect(configuration.paths.state == "/var/lib/perseid")
    #expect(
      configuration.defaults == NodeDefaults(nodeName: "n####", group: "cluster", vnfs: "debian-12", enabled: true))
  }

  @Test("Appliances that stand by are addresses with or without a port, in their order")
  func standby() throws {
    func standby(_ text: String) throws -> [String] {
      try Configuration.parse(
        yaml: "network: { interface: eth1 }\nprovisioner: { standby: \(text) }", file: "perseid.yaml"
      ).provisioner.standby.map(\.description)
    }
    #expect(try standby("10.0.0.2") == ["10.0.0.2:9870"])
    #expect(try standby("[10.0.0.3:99, 10.0.0.2]") == ["10.0.0.3:99", "10.0.0.2:9870"])
    let nine = (1...9).map { "10.0.0.\($0)" }.joined(separator: ", ")
    for wrong in ["other", "10.0.0.2:0", "0.0.0.0", "[\(nine)]"] {
      #expect(throws: ConfigurationError.self, "\(wrong)") { try standby(wrong) }
    }
  }

  @Test("The documented example is read as it stands")
  func example() throws {
    let yaml = """
      network:      { interface: [eth1, eth2], answerRouterSearch: false }
      dhcp:                         # mode: authoritative | proxy | off
        mode: proxy
        pool: 10.0.1.1-10.0.200.254
        leaseSeconds: 60
        router: 10.0.0.1
        dns: [10.0.0.2, 10.0.0.3]
        ntp: 10.0.0.4
        domain: cluster.example
        mtu: 9000
        domainSearch: [cluster.example, example]
        routes: 192.168.0.0/16 via 10.2.0.7
        conflictProbe: false
        relayed:
          - { subnet: 10.2.0.0/16, pool: 10.2.1.1-10.2.200.254, router: 10.2.0.1 }
          - { subnet: 10.3.0.0/16, pool: 10.3.1.1-10.3.1.9, mtu: 1500, routes: [10.9.0.0/16 via 10.3.0.2] }
      tftp:         { port: 6900, singlePort: true }
      admin:        { port: 9871 }
      paths:        { state: /srv/perseid/ }
      defaults:     { nodeName: "c##x", group: g, vnfs: v, enabled: false }
      states:       { readyIntervalSeconds: 5 }
      """
    let configuration = try Configuration.parse(yaml: yaml, file: "p.yaml")
    #expect(configuration.network.interfaces == ["eth1", "eth2"] && !configuration.network.answerRouterSearch)
    #expect(configuration.dhcp.mode == .proxy && configuration.dhcp.dns.count == 2 && configuration.dhcp.ntp.count == 1)
    #expect(!configuration.dhcp.conflictProbe && Configuration.DHCP().conflictProbe)
    #expect(configuration.dhcp.relayed.first?.router == IPv4Address(10, 2, 0, 1))
    #expect(configuration.tftp.port == 6900 && configuration.tftp.singlePort)
    #expect(configuration.dhcp.mtu == 9000 && configuration.dhcp.domainSearch == ["cluster.example", "example"])
    #expect(configuration.dhcp.routes.map(\.description) == ["192.168.0.0/16 via 10.2.0.7"])
    #expect(configuration.dhcp.relayed.map(\.mtu) == [nil, 1500])
    #expect(configuration.dhcp.relayed.last?.routes?.map(\.description) == ["10.9.0.0/16 via 10.3.0.2"])
    #expect(configuration.paths.state == "/srv/perseid")
    #expect(!configuration.defaults.enabled && configuration.defaults.nodeName == "c##x")
    #expect(configuration.states.readyIntervalSeconds == 5 && configuration.states.silenceSeconds == 30)
  }

  @Test(
    "What cannot be is refused with its key and its line",
    arguments: [
      ("network: { interface: eth1 }\ndhpc: { mode: off }\n", 2, "dhpc", "network, dhcp"),
      ("network: { interface: eth1 }\ndhcp:\n  mode: of\n", 3, "dhcp.mode", "found 'of'"),
      ("network: { interface: eth1 }\ndhcp:\n  mode: off\n  leaseSecond: 5\n", 4, "dhcp.leaseSecond", "leaseSeconds"),
      ("network: { interface: eth1 }\ndhcp:\n  leaseSeconds: soon\n", 3, "dhcp.leaseSeconds", "from 60 to"),
      ("network: { interface: eth1 }\ndhcp:\n  leaseSeconds: 5\n", 3, "dhcp.leaseSeconds", "found '5'"),
      ("network: { interface: eth1 }\ndhcp:\n  pool: 10.0.0.9-10.0.0.2\n", 3, "dhcp.pool", "10.0.0.9-10.0.0.2"),
      ("network: { interface: eth1 }\ndhcp: [1]\n", 2, "dhcp", "found a list"),
      ("network: { interface: eth1 }\ndhcp:\n  mtu: 67\n", 3, "dhcp.mtu", "bytes from 68"),
      ("network: { interface: eth1 }\ndhcp:\n  routes: 10.9.0.0/16\n", 3, "dhcp.routes", "via 10.0.0.254"),
      ("network: { interface: eth1 }\ndhcp:\n  router: [10.0.0.1]\n", 3, "dhcp.router", "found a list"),
      (
        "network: { interface: eth1 }\ndhcp:\n  relayed:\n    - { subnet: 10.2.0.0/16, pool: 10.3.1.1-10.3.1.9 }\n", 4,
        "dhcp.relayed[0].pool", "hosts in 10.2.0.0/16"
      ),
      (
        "network: { interface: eth1 }\ndhcp:\n  relayed:\n    - { subnet: 10.2.0.0/16 }\n", 4, "dhcp.relayed[0].pool",
        "nothing"
      ),
      ("network: { interface: eth1 }\ntftp: { port: 70000 }\n", 2, "tftp.port", "from 1 to 65535"),
      ("network: { interface: eth1 }\ntftp: { singlePort: 1 }\n", 2, "tftp.singlePort", "true or false"),
      ("network: { interface: eth1 }\n\n\nadmin: { port: 9870 }\n", 4, "admin.port", "provisioner's port"),
      ("network: { interface: eth1 }\npaths: { state: var }\n", 2, "paths.state", "absolute path"),
      ("network: { interface: eth1 }\ndefaults: { nodeName: node }\n", 2, "defaults.nodeName", "n####"),
      ("network: { interface: eth1 }\ndefaults: { enabled: 1 }\n", 2, "defaults.enabled", "true or false"),
      (
        "network: { interface: eth1 }\nstates: { readyIntervalSeconds: 60, silenceSeconds: 30 }\n", 2,
        "states.silenceSeconds", "more than"
      ),
      ("network: { interface: }\n", 1, "network.interface", "nothing"),
      ("network: {}\n", 1, "network.interface", "nothing"),
      ("network: { interface: eth1 }\nnetwork: { interface: eth2 }\n", 1, "network", "twice"),
    ])
  func refused(yaml: String, line: Int, key: String, words: String) throws {
    let error = try #require(throws: ConfigurationError.self) { try Configuration.parse(yaml: yaml, file: "p.yaml") }
    #expect(error.line == line, "\(error)")
    #expect(error.key == key, "\(error)")
    #expect(error.description.contains(words), "\(error)")
    #expect(error.description.hasPrefix("p.yaml, line \(line): "))
  }

  @Test("An empty file and one without an interface name the key that is missing")
  func missingInterface() throws {
    for yaml in ["", "# nothing\n", "tftp: { port: 69 }\n"] {
      let error = try #require(throws: ConfigurationError.self) { try Configuration.parse(yaml: yaml, file: "p.yaml") }
      #expect(error.key == "network.interface")
    }
  }

  @Test("What is no YAML is refused with its line")
  func noYAML() throws {
    let error = try #require(throws: ConfigurationError.self) {
      try Configuration.parse(yaml: "network: { interface: eth1 }\ndhcp: { mode: [ }\n", file: "p.yaml")
    }
    #expect(error.line == 2, "\(error)")
  }

  @Test("A missing file says what to write first")
  func missingFile() throws {
    let error = try #require(throws: ConfigurationError.self) { try Configuration.load(path: "/nonexistent/p.yaml") }
    #expect(error.description.contains("no such file") && error.description.contains("network: { interface: eth1 }"))
  }

  private let system = [
    SystemInterface(name: "lo", index: 1, address: IPv4Address(127, 0, 0, 1), prefixLength: 8, isLoopback: true),
    SystemInterface(name: "eth0", index: 2, address: nil, prefixLength: 0, isLoopback: false),
    SystemInterface(name: "eth1", index: 3, address: IPv4Address(10, 0, 0, 1), prefixLength: 24, isLoopback: false),
  ]

  @Test("The pool is the upper half of the interface's network by default, never our own address")
  func defaultPool() throws {
    let served = try Configuration(interfaces: ["eth1"]).resolve(system)
    #expect(served.map(\.pool) == [IPv4Range("10.0.0.128-10.0.0.254")])
    #expect(served.first?.index == 3)
    let subnet = try #require(IPv4Subnet("10.0.0.0/24"))
    #expect(
      ServedInterface.defaultPool(of: subnet, without: IPv4Address(10, 0, 0, 200)) == IPv4Range("10.0.0.128-10.0.0.199")
    )
    #expect(
      ServedInterface.defaultPool(of: subnet, without: IPv4Address(10, 0, 0, 254)) == IPv4Range("10.0.0.128-10.0.0.253")
    )
    let small = try #require(IPv4Subnet("10.0.0.0/30"))
    #expect(ServedInterface.defaultPool(of: small, without: IPv4Address(10, 0, 0, 2)) == IPv4Range("10.0.0.1-10.0.0.1"))
    #expect(ServedInterface.defaultPool(of: small, without: IPv4Address(10, 0, 0, 1)) == IPv4Range("10.0.0.2-10.0.0.2"))
  }

  @Test("An interface that is not there, or has no address, is named with those there are and the remedy")
  func interfaces() throws {
    let missing = try #require(throws: ConfigurationError.self) {
      try Configuration.parse(yaml: "\nnetwork: { interface: eth9 }\n", file: "p.yaml").resolve(system)
    }
    #expect(missing.line == 2 && missing.key == "network.interface")
    #expect(missing.description.contains("'eth9'") && missing.description.contains("eth0, eth1"))
    let bare = try #require(throws: ConfigurationError.self) { try Configuration(interfaces: ["eth0"]).resolve(system) }
    #expect(bare.description.contains("ip address add"))
  }

  @Test("A pool outside of the network, or with our own address in it, is refused with its line")
  func pools() throws {
    for (pool, words) in [("10.1.0.1-10.1.0.9", "10.0.0.0/24 on eth1"), ("10.0.0.1-10.0.0.9", "own address 10.0.0.1")] {
      let yaml = "network: { interface: eth1 }\ndhcp:\n  pool: \(pool)\n"
      let error = try #require(throws: ConfigurationError.self) {
        try Configuration.parse(yaml: yaml, file: "p.yaml").resolve(system)
      }
      #expect(error.line == 3 && error.description.contains(words), "\(error)")
    }
  }

  @Test("A route whose router is in none of the nodes' networks is refused with its line; one in theirs is taken")
  func routes() throws {
    func resolve(_ router: String) throws -> [ServedInterface] {
      let yaml = "network: { interface: eth1 }\ndhcp:\n  routes: 192.168.0.0/16 via \(router)\n"
      return try Configuration.parse(yaml: yaml, file: "p.yaml").resolve(system)
    }
    #expect(try resolve("10.0.0.7").count == 1)
    let error = try #require(throws: ConfigurationError.self) { try resolve("10.1.0.7") }
    #expect(error.line == 3 && error.description.contains("10.0.0.0/24"), "\(error)")
  }

  @Test("The running system's loopback interface is found with its address")
  func loopback() {
    let all = SystemInterface.all()
    #expect(all.contains { $0.isLoopback && $0.address == IPv4Address(127, 0, 0, 1) && $0.prefixLength == 8 })
  }
}
