import CapsuleFormat
import ConfigurationFile
import DHCPWire
import FoundationEssentials
import NetworkTypes
import StateProtocol
import Yams

extension Configuration {
  /// Largest configuration file that is read, in bytes.
  package static let sizeLimit = 1 << 20

  /// - Throws: `ConfigurationError`.
  package static func load(path: String) throws -> Configuration {
    let data: Data
    do {
      data = try Data(contentsOf: URL(filePath: path))
    } catch {
      let reason = FileManager.default.fileExists(atPath: path) ? "it cannot be read" : "there is no such file"
      throw ConfigurationError(
        file: path, line: nil, key: nil,
        message: "\(reason). Name another with --config, or begin with these two words in it: "
          + "'network: { interface: eth1 }', where eth1 is the interface the nodes are on.")
    }
    guard data.count <= sizeLimit else {
      throw ConfigurationError(
        file: path, line: nil, key: nil, message: "it has \(data.count) bytes, where at most \(sizeLimit) are read.")
    }
    guard let text = String(bytes: data, encoding: .utf8) else {
      throw ConfigurationError(file: path, line: nil, key: nil, message: "it is not UTF-8 text.")
    }
    return try parse(yaml: text, file: path)
  }

  /// - Throws: `ConfigurationError`.
  package static func parse(yaml: String, file: String) throws -> Configuration {
    let node = try YAMLSection.compose(yaml, file: file)
    let names = [
      "network", "dhcp", "tftp", "provisioner", "admin", "paths", "defaults", "discovery", "states", "capsules",
    ]
    let missing = ConfigurationError(
      file: file, line: node?.mark?.line, key: "network.interface",
      message: "found nothing, allowed is the name of the interface the nodes are on, or a list of such names.")
    guard let node else { throw missing }
    let root = try YAMLSection(node, file: file, path: "", allowed: names)
    guard let network = try root.section("network", allowed: ["interface", "answerRouterSearch"]) else { throw missing }
    let isName: (String) -> String? = {
      (1...15).contains($0.utf8.count) && !$0.contains("/") && !$0.contains(" ") ? $0 : nil
    }
    guard
      let interfaces = try network.list(
        "interface", allowed: "the name of an interface such as eth1, or a list of such names", isName),
      !interfaces.isEmpty
    else {
      throw ConfigurationError(
        file: file, line: network.line(of: "interface") ?? network.line, key: missing.key, message: missing.message)
    }
    var result = Configuration(file: file)
    for name in interfaces where !result.network.interfaces.contains(name) { result.network.interfaces.append(name) }
    result.lines["network.interface"] = network.line(of: "interface")
    result.network.answerRouterSearch = try network.bool("answerRouterSearch") ?? result.network.answerRouterSearch
    try result.readDHCP(root)
    let port = "a port"
    if let section = try root.section("tftp", allowed: ["port", "singlePort"]) {
      result.tftp.port = try section.integer("port", 1...65535, unit: port) ?? result.tftp.port
      result.tftp.singlePort = try section.bool("singlePort") ?? result.tftp.singlePort
    }
    let provisioner = ["port", "rate", "ratePerNode", "concurrentBoots", "standby"]
    if let section = try root.section("provisioner", allowed: provisioner) {
      result.provisioner.port = try section.integer("port", 1...65535, unit: port) ?? result.provisioner.port
      result.provisioner.rate = try section.value("rate", allowed: ByteRate.allowed) { ByteRate($0) }?.bytes
      result.provisioner.ratePerNode =
        try section.value("ratePerNode", allowed: ByteRate.allowed) { ByteRate($0) }?.bytes
      result.provisioner.concurrentBoots =
        try section.integer("concurrentBoots", 0...100_000, unit: "nodes") ?? result.provisioner.concurrentBoots
      result.provisioner.standby = try readStandby(section)
    }
    if let section = try root.section("admin", allowed: ["port", "address"]) {
      result.admin.port = try section.integer("port", 0...65535, unit: "a port (0 for none)") ?? result.admin.port
      let address = "an IPv4 address of this machine, or 0.0.0.0 for all of them"
      result.admin.address = try section.value("address", allowed: address) { IPv4Address($0) } ?? result.admin.address
      if result.admin.port == result.provisioner.port {
        throw section.error(
          "port", "found \(result.admin.port), which is the provisioner's port; allowed is another one.")
      }
    }
    if let section = try root.section("paths", allowed: ["state"]) {
      let allowed = "an absolute path of at most 90 bytes (sockets in it must have short names)"
      let state = try section.value("state", allowed: allowed) { text in
        text.hasPrefix("/") && text.utf8.count <= 90 && !text.utf8.contains(0) ? text : nil
      }
      if var state {
        while state.count > 1, state.hasSuffix("/") { state.removeLast() }
        result.paths.state = state
      }
    }
    try result.readDefaults(root)
    let policies = Discovery.allCases.map(\.rawValue).joined(separator: ", ")
    result.discovery =
      try root.value("discovery", allowed: policies) { Discovery(rawValue: $0) } ?? result.discovery
    try result.readStates(root)
    if let section = try root.section("capsules", allowed: ["keep", "requireSignature"]) {
      result.capsules.keep = try section.integer("keep", 1...1000, unit: "generations") ?? result.capsules.keep
      result.capsules.requireSignature = try section.bool("requireSignature") ?? result.capsules.requireSignature
    }
    return result
  }

  private static func readStandby(_ section: YAMLSection) throws -> [NodeRecord.Server] {
    let address = "the address of another appliance such as 10.0.0.2 or 10.0.0.2:9870, or a list of them"
    let list = try section.list("standby", allowed: address) { text -> NodeRecord.Server? in
      let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
      guard let address = IPv4Address(String(parts[0])), address != .any, address != .broadcast else { return nil }
      guard parts.count == 2 else { return NodeRecord.Server(address: address, port: 9870) }
      return UInt16(parts[1]).flatMap { $0 > 0 ? NodeRecord.Server(address: address, port: $0) : nil }
    }
    guard let list, list.count > NodeRecord.serverLimit else { return list ?? [] }
    throw section.error("standby", "found \(list.count) appliances, allowed are at most \(NodeRecord.serverLimit).")
  }

  private mutating func readDHCP(_ root: YAMLSection) throws {
    let keys = [
      "mode", "pool", "leaseSeconds", "router", "dns", "domain", "ntp", "mtu", "domainSearch", "routes", "dynamicBOOTP",
      "conflictProbe", "relayed",
    ]
    guard let section = try root.section("dhcp", allowed: keys) else { return }
    let modes = DHCP.Mode.allCases.map(\.rawValue).joined(separator: ", ")
    let range = "addresses from low to high such as 10.0.1.1-10.0.200.254"
    let address = "an IPv4 address such as 10.0.0.1"
    dhcp.mode = try section.value("mode", allowed: modes) { DHCP.Mode(rawValue: $0) } ?? dhcp.mode
    dhcp.pool = try section.value("pool", allowed: range) { IPv4Range($0) }
    lines["dhcp.pool"] = section.line(of: "pool")
    dhcp.leaseSeconds = try section.integer("leaseSeconds", 60...31_536_000, unit: "seconds") ?? dhcp.leaseSeconds
    dhcp.router = try section.value("router", allowed: address) { IPv4Address($0) }
    dhcp.dns = try section.list("dns", allowed: address + ", or a list of them") { IPv4Address($0) } ?? []
    dhcp.ntp = try section.list("ntp", allowed: address + ", or a list of them") { IPv4Address($0) } ?? []
    dhcp.domain = try section.value("domain", allowed: Self.domainName, Self.readDomain)
    dhcp.mtu = try Self.readMTU(section)
    dhcp.domainSearch = try Self.readDomainSearch(section) ?? []
    dhcp.routes = try Self.readRoutes(section) ?? []
    dhcp.dynamicBOOTP = try section.bool("dynamicBOOTP") ?? dhcp.dynamicBOOTP
    dhcp.conflictProbe = try section.bool("conflictProbe") ?? dhcp.conflictProbe
    lines["dhcp.routes"] = section.line(of: "routes")
    let relayed = try section.sections(
      "relayed", allowed: ["subnet", "pool", "router", "mtu", "domainSearch", "routes"])
    for (index, entry) in relayed.enumerated() {
      let subnet = try entry.value("subnet", allowed: "a network such as 10.2.0.0/16") { IPv4Subnet($0) }
      let pool = try entry.value("pool", allowed: range) { IPv4Range($0) }
      guard let subnet, let pool else {
        let key = subnet == nil ? "subnet" : "pool"
        throw ConfigurationError(
          file: file, line: entry.line, key: "dhcp.relayed[\(index)].\(key)",
          message: "found nothing, allowed is \(key == "subnet" ? "a network such as 10.2.0.0/16" : range).")
      }
      guard subnet.isHost(pool.lowerBound), subnet.isHost(pool.upperBound) else {
        throw entry.error("pool", "found \(pool), allowed are addresses of hosts in \(subnet).")
      }
      let router = try entry.value("router", allowed: address) { IPv4Address($0) }
      if let router, !subnet.isHost(router) {
        throw entry.error("router", "found \(router), allowed is the address of a host in \(subnet).")
      }
      if dhcp.relayed.contains(where: { $0.subnet.contains(subnet.network) || subnet.contains($0.subnet.network) }) {
        throw entry.error(
          "subnet", "found \(subnet), which overlaps with another relayed network; allowed are networks apart.")
      }
      lines["dhcp.relayed[\(index)].subnet"] = entry.line(of: "subnet")
      let routes = try Self.readRoutes(entry)
      if let route = routes?.first(where: { !subnet.isHost($0.router) }) {
        throw entry.error("routes", "found \(route), allowed is a router in \(subnet).")
      }
      dhcp.relayed.append(
        DHCP.Relayed(
          subnet: subnet, pool: pool, router: router, mtu: try Self.readMTU(entry),
          domainSearch: try Self.readDomainSearch(entry), routes: routes))
    }
  }

  private static let domainName = "a domain name such as cluster.example"

  private static func readDomain(_ text: String) -> String? {
    let labels = text.split(separator: ".", omittingEmptySubsequences: false)
    return text.utf8.count <= 253 && labels.allSatisfy({ NodeName.isValid(String($0)) }) ? text : nil
  }

  private static func readMTU(_ section: YAMLSection) throws -> Int? {
    // RFC 2132, section 5.1: "The minimum legal value for the MTU is 68."
    try section.integer("mtu", 68...65535, unit: "bytes")
  }

  private static func readDomainSearch(_ section: YAMLSection) throws -> [String]? {
    try section.list("domainSearch", allowed: domainName + ", or a list of them", readDomain)
  }

  private static func readRoutes(_ section: YAMLSection) throws -> [ClasslessRoute]? {
    try section.list("routes", allowed: "a route such as 192.168.0.0/16 via 10.0.0.254, or a list of them") {
      ClasslessRoute($0)
    }
  }

  private mutating func readDefaults(_ root: YAMLSection) throws {
    guard let section = try root.section("defaults", allowed: ["nodeName", "group", "vnfs", "enabled"]) else { return }
    let pattern = "a host name with one run of # for the number, such as n####"
    let label: (String) -> String? = { NodeName.isValidLabel($0) ? $0 : nil }
    defaults.nodeName =
      try section.value("nodeName", allowed: pattern) { NamePattern($0) == nil ? nil : $0 } ?? defaults.nodeName
    defaults.group = try section.value("group", allowed: NodeKeys.label, label) ?? defaults.group
    defaults.vnfs =
      try section.value("vnfs", allowed: CapsuleName.allowed) { CapsuleName.isValid($0) ? $0 : nil } ?? defaults.vnfs
    defaults.enabled = try section.bool("enabled") ?? defaults.enabled
  }

  private mutating func readStates(_ root: YAMLSection) throws {
    let keys = ["readyIntervalSeconds", "silenceSeconds", "scriptSeconds", "the name of a state"]
    guard let section = try root.section("states", allowed: keys, orNames: NodeName.isValidState) else { return }
    states.readyIntervalSeconds =
      try section.integer("readyIntervalSeconds", 1...86400, unit: "seconds") ?? states.readyIntervalSeconds
    let silence = try section.integer("silenceSeconds", 2...604_800, unit: "seconds")
    states.silenceSeconds = silence ?? max(30, states.readyIntervalSeconds * 3)
    if states.silenceSeconds <= states.readyIntervalSeconds {
      throw section.error(
        "silenceSeconds",
        "found \(states.silenceSeconds), allowed is more than readyIntervalSeconds (\(states.readyIntervalSeconds)).")
    }
    states.scriptSeconds = try section.integer("scriptSeconds", 1...300, unit: "seconds") ?? states.scriptSeconds
    for name in section.keys.filter(NodeName.isValidState).sorted() {
      guard let entry = try section.section(name, allowed: ["deadlineSeconds", "next", "intervalSeconds"]) else {
        continue
      }
      var state = State()
      state.deadlineSeconds = try entry.integer("deadlineSeconds", 0...604_800, unit: "seconds (0 for none)")
      state.intervalSeconds = try entry.integer("intervalSeconds", 1...86400, unit: "seconds")
      state.next = try entry.value("next", allowed: "the name of a state: " + NodeName.stateWords) {
        NodeName.isValidState($0) ? $0 : nil
      }
      if state.next == "init" {
        throw entry.error("next", "found 'init', which a machine is in only as it boots; allowed is another state.")
      }
      if name == "init", state.intervalSeconds != nil {
        throw entry.error("intervalSeconds", "nothing is repeated in 'init'; allowed is it for other states.")
      }
      states.named[name] = state
    }
    for name in states.named.keys.sorted() { try checkNext(after: name, section) }
  }

  /// States that lead to one another without a pause would keep nodes and appliance busy for ever.
  private func checkNext(after name: String, _ section: YAMLSection) throws {
    var path = [name]
    while let last = path.last, let next = states.next(after: last), states.pause(in: last) == nil {
      path.append(next)
      guard path.dropLast().contains(next) else { continue }
      throw section.error(
        name,
        "found that \(path.joined(separator: " leads to ")), without an intervalSeconds in any of them; "
          + "allowed is a way that ends, or one that pauses.")
    }
  }
}
