import Foundation
import Glibc
package import NetworkTypes

/// A small private network: a server at one end of a cable, a switch at the other, and machines on the switch.
///
/// The server's interface is `eth1`, 10.77.0.1/24. Everything is in namespaces and in a directory of its
/// own, which go when `with` returns.
package struct Site: Sendable {
  /// Where the appliance (or a peer) runs.
  package let server: NetworkNamespace
  /// The switch: a bridge `lan`, into which machines' taps are plugged.
  package let wire: NetworkNamespace
  /// A directory of the site's own.
  package let directory: String

  package static let serverInterface = "eth1"
  package static let serverAddress = IPv4Address(10, 77, 0, 1)
  package static let prefixLength = 24
  /// Addresses for clients.
  package static let pool = "10.77.0.100-10.77.0.199"
  static let bridge = "lan"
  /// A switch where nobody answers.
  static let island = "island"
  /// The switch's end of the cable to the server: everything between them passes here.
  static let uplink = "uplink"

  /// Makes a site for the time of `body`.
  package static func with<Result>(
    isolation: isolated (any Actor)? = #isolation, _ body: (Site) async throws -> Result
  ) async throws -> Result {
    let directory = try ScratchDirectory.make()
    defer { ScratchDirectory.remove(directory) }
    return try await NetworkNamespace.with("server", isolation: isolation) { server in
      try await NetworkNamespace.with("wire", isolation: isolation) { wire in
        try await wire.makeBridge(bridge)
        try await server.connect(serverInterface, to: wire, uplink)
        try await server.configure(serverInterface, address: serverAddress, prefixLength: prefixLength)
        try await wire.plug(uplink, into: bridge)
        return try await body(Site(server: server, wire: wire, directory: directory))
      }
    }
  }

  /// Powers a machine on, its network card plugged into the switch.
  package func start(_ configuration: Machine.Configuration) async throws -> Machine {
    let tap = try await tap(of: configuration.mac, on: configuration.vlan == nil ? Self.bridge : nil)
    let port = try await port(of: configuration, tap)
    var others: [String] = []
    for card in configuration.otherCards {
      if !card.isOnSwitch, try await Command("ip", "-n", wire.name, "link", "show", Self.island).run().exitCode != 0 {
        try await wire.makeBridge(Self.island)
      }
      others.append(try await self.tap(of: card.mac, on: card.isOnSwitch ? Self.bridge : Self.island))
    }
    return try Machine(configuration, tap: tap, otherTaps: others, port: port, in: wire, directory: directory)
  }

  /// Joins a tap to the switch through a port with a tagged network, where the machine is to have one.
  private func port(of configuration: Machine.Configuration, _ tap: String) async throws -> RunningProcess? {
    guard let vlan = configuration.vlan else { return nil }
    let (near, far) = ("n\(tap.dropFirst())", "f\(tap.dropFirst())")
    try await wire.connect(near, to: wire, far)
    try await wire.plug(far, into: Self.bridge)
    for interface in [tap, near, far, Self.uplink, Self.bridge] {
      try await wire.ip("link", "set", interface, "mtu", "9004", "up")
    }
    try await server.ip("link", "set", Self.serverInterface, "mtu", "9000")
    // The port passes on what it sees: whole frames, with their checksums.
    try await server.command("ethtool", "-K", Self.serverInterface, "tx", "off", "tso", "off", "gso", "off")
      .run().check()
    let program = URL(fileURLWithPath: #filePath).deletingLastPathComponent().path + "/tagging-port"
    let port = try RunningProcess(wire.command("python3", program, tap, near, "\(vlan)"))
    try await port.log.line(containing: "has VLAN", within: .seconds(60))
    return port
  }

  /// - Parameter bridge: `nil`: it is plugged into none.
  private func tap(of mac: MACAddress, on bridge: String?) async throws -> String {
    // Interface names are at most 15 characters.
    let tap = "t" + mac.formatted(separator: "-").filter { $0 != "-" }
    if try await Command("ip", "-n", wire.name, "link", "show", tap).run().exitCode != 0 {
      try await wire.makeTap(tap, into: bridge)
    }
    return tap
  }

  /// Follows the packets between the switch and the server, a line of tcpdump's for each.
  /// - Parameter filter: Which packets, in the words of pcap-filter(7).
  package func watch(_ filter: String) async throws -> RunningProcess {
    let watch = try RunningProcess(
      wire.command(
        "tcpdump", "-Z", "root", "-i", Self.uplink, "-n", "-l", "-s", "128", "--immediate-mode", filter))
    try await watch.log.line(containing: "listening on", within: .seconds(20))
    return watch
  }

  /// Makes a host of its own on the switch, with an interface `eth0` without address.
  package func withHost<Result>(
    _ role: String, mac: MACAddress? = nil, isolation: isolated (any Actor)? = #isolation,
    _ body: (NetworkNamespace) async throws -> Result
  ) async throws -> Result {
    try await NetworkNamespace.with(role, isolation: isolation) { host in
      // The name of the switch's end, unique and at most 15 characters.
      let port = "p" + String(UInt32.random(in: .min ... .max), radix: 36)
      try await host.connect("eth0", mac: mac, to: wire, port)
      try await wire.plug(port, into: Self.bridge)
      return try await body(host)
    }
  }
}

/// Directories for what a test leaves behind; kept where PERSEID_KEEP is set.
///
/// They are in $PERSEID_SCRATCH, which in-private-namespaces makes and removes however the tests end.
package enum ScratchDirectory {
  package static func make() throws -> String {
    let base = ProcessInfo.processInfo.environment["PERSEID_SCRATCH"] ?? "/tmp"
    var template = Array("\(base)/lab-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else {
      throw LabError("cannot make a directory in \(base): \(String(cString: strerror(errno)))")
    }
    return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  package static func remove(_ directory: String) {
    guard ProcessInfo.processInfo.environment["PERSEID_KEEP"] == nil else {
      print("kept: \(directory)")
      return
    }
    try? FileManager.default.removeItem(atPath: directory)
  }
}
