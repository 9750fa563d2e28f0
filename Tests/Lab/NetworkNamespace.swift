import Foundation
package import NetworkTypes

/// A network namespace of the lab, with a name that `ip netns` knows.
///
/// All of them live inside the private namespaces that Tests/Lab/in-private-namespaces makes, and end
/// with them at the latest.
package struct NetworkNamespace: Hashable, Sendable {
  package let name: String

  /// Whether namespaces may be made here: this process runs inside Tests/Lab/in-private-namespaces.
  package static var isAvailable: Bool {
    ProcessInfo.processInfo.environment["PERSEID_PRIVATE_NAMESPACES"] == "1"
  }

  /// What to tell where they may not.
  package static let unavailable = "needs private namespaces: run it through Tests/Lab/in-private-namespaces"

  /// Makes one whose loopback interface is up.
  /// - Parameter role: The readable part of its name.
  package static func make(_ role: String) async throws -> NetworkNamespace {
    guard isAvailable else { throw LabError("a network namespace \(unavailable)") }
    let namespace = NetworkNamespace(name: "\(role)-\(String(UInt32.random(in: .min ... .max), radix: 36))")
    try await ip("netns", "add", namespace.name)
    try await ip("-n", namespace.name, "link", "set", "lo", "up")
    return namespace
  }

  /// Makes one for the time of `body`.
  package static func with<Result>(
    _ role: String, isolation: isolated (any Actor)? = #isolation,
    _ body: (NetworkNamespace) async throws -> Result
  ) async throws -> Result {
    let namespace = try await make(role)
    do {
      let result = try await body(namespace)
      try await namespace.delete()
      return result
    } catch {
      try? await namespace.delete()
      throw error
    }
  }

  package func delete() async throws {
    try await Self.ip("netns", "delete", name)
  }

  /// Runs `ip` with these arguments on this namespace.
  @discardableResult
  package func ip(_ arguments: String...) async throws -> String {
    try await Self.ip(["-n", name] + arguments)
  }

  /// A command in this namespace: `try await namespace.command("udhcpc", "-i", "eth0").run()`.
  package func command(_ arguments: String...) -> Command {
    command(arguments)
  }

  package func command(_ arguments: [String]) -> Command {
    Command(arguments, namespace: self)
  }

  /// Gives an interface an address and takes it up.
  package func configure(_ interface: String, address: IPv4Address? = nil, prefixLength: Int = 24) async throws {
    if let address {
      try await ip("address", "add", "\(address)/\(prefixLength)", "broadcast", "+", "dev", interface)
    }
    try await ip("link", "set", interface, "up")
  }

  /// Makes a pair of interfaces joined like a cable, one here and one in `other`, both up and without address.
  package func connect(
    _ interface: String, mac: MACAddress? = nil, to other: NetworkNamespace, _ otherInterface: String,
    mac otherMAC: MACAddress? = nil
  ) async throws {
    try await Self.ip(
      ["link", "add", "name", interface, "netns", name] + (mac.map { ["address", $0.description] } ?? [])
        + ["type", "veth", "peer", "name", otherInterface, "netns", other.name]
        + (otherMAC.map { ["address", $0.description] } ?? []))
    try await ip("link", "set", interface, "up")
    try await other.ip("link", "set", otherInterface, "up")
  }

  /// Makes a bridge that forwards from its first moment on, up and without address.
  package func makeBridge(_ bridge: String) async throws {
    try await ip(
      "link", "add", "name", bridge, "type", "bridge", "stp_state", "0", "forward_delay", "0", "mcast_snooping", "0")
    try await ip("link", "set", bridge, "up")
  }

  /// Plugs an interface of this namespace into a bridge of it.
  package func plug(_ interface: String, into bridge: String) async throws {
    try await ip("link", "set", interface, "master", bridge, "up")
  }

  /// Makes a tap interface for a virtual machine, plugged into a bridge of this namespace where one is named.
  package func makeTap(_ tap: String, into bridge: String?) async throws {
    try await Command("ip", "tuntap", "add", "dev", tap, "mode", "tap").in(self).run().check()
    if let bridge { try await plug(tap, into: bridge) }
  }

  @discardableResult
  private static func ip(_ arguments: String...) async throws -> String {
    try await ip(arguments)
  }

  @discardableResult
  private static func ip(_ arguments: [String]) async throws -> String {
    try await Command(["ip"] + arguments).run(timeout: .seconds(20)).check().output
  }
}
