import CLinux
package import DHCPClient
import DHCPWire
import Glibc
package import NetworkTypes

/// What is set on a network interface.
package protocol InterfaceControl {
  func bringUp(_ name: String) throws(SystemError)
  /// Sets the address, in place of the one that is there.
  func setAddress(_ address: IPv4Address, prefixLength: Int, on name: String) throws(SystemError)
  /// Adds a route, which may be there already.
  /// - Parameter router: 0.0.0.0 where the destination is on the interface's own link.
  func addRoute(to destination: IPv4Subnet, through router: IPv4Address, on name: String) throws(SystemError)
  /// Sets the largest packet, in bytes with its IP header.
  func setMTU(_ bytes: UInt16, on name: String) throws(SystemError)
  /// `nil` while the interface is down.
  func hasCarrier(_ name: String) -> Bool?
  func exists(_ name: String) -> Bool
  func bringDown(_ name: String) throws(SystemError)
  /// Adds a tagged network (IEEE 802.1Q) on an interface.
  func addVLAN(_ id: UInt16, on base: String, named name: String) throws(SystemError)
  /// Makes an empty bond (kernel documentation, networking/bonding).
  func addBond(_ name: String) throws(SystemError)
  func setBond(_ option: String, to value: String, of name: String) throws(SystemError)
  func members(ofBond name: String) -> [String]
  /// Adds an interface that is down to a bond.
  func addMember(_ member: String, toBond name: String) throws(SystemError)
}

extension InterfaceControl {
  /// Sets what a DHCP server gave: address, largest packet, routes.
  /// - Parameter say: Told what of it the kernel does not take. A wrong route or size hurts later, if at all:
  ///   the appliance is on this segment, or behind the default route.
  package func set(_ lease: AcquiredLease, on name: String, say: (String) -> Void) throws(SystemError) {
    try setAddress(lease.address, prefixLength: lease.prefixLength, on: name)
    func attempt(_ what: String, _ body: () throws(SystemError) -> Void) {
      do { try body() } catch { say("\(error); going on without \(what)") }
    }
    if let mtu = lease.mtu { attempt("it") { () throws(SystemError) in try setMTU(mtu, on: name) } }
    // What is on the link first: it may be the way to the other routers.
    for route in lease.routes.sorted(by: { $0.router == .any && $1.router != .any }) {
      attempt("this route") { () throws(SystemError) in
        try addRoute(to: route.destination, through: route.router, on: name)
      }
    }
    if let router = lease.router, let everywhere = IPv4Subnet(containing: .any, prefixLength: 0) {
      attempt("a default route") { () throws(SystemError) in try addRoute(to: everywhere, through: router, on: name) }
    }
  }
}

/// The kernel's own.
package struct KernelInterfaces: InterfaceControl {
  package init() {}

  package func bringUp(_ name: String) throws(SystemError) {
    try check("bring \(name) up") { clinux_interface_up(name) }
  }

  package func setAddress(_ address: IPv4Address, prefixLength: Int, on name: String) throws(SystemError) {
    guard let subnet = IPv4Subnet(containing: address, prefixLength: prefixLength) else {
      throw SystemError("set \(address)/\(prefixLength) on \(name)", code: EINVAL)
    }
    try check("set \(address)/\(prefixLength) on \(name)") {
      clinux_interface_address(
        name, address.rawValue.bigEndian, subnet.netmask.rawValue.bigEndian, subnet.broadcast.rawValue.bigEndian)
    }
  }

  package func addRoute(
    to destination: IPv4Subnet, through router: IPv4Address, on name: String
  ) throws(SystemError) {
    try check("route \(destination) through \(router) on \(name)") {
      clinux_interface_route(
        name, destination.network.rawValue.bigEndian, destination.netmask.rawValue.bigEndian, router.rawValue.bigEndian)
    }
  }

  package func setMTU(_ bytes: UInt16, on name: String) throws(SystemError) {
    try check("set packets of \(bytes) bytes on \(name)") { clinux_interface_mtu(name, CInt(bytes)) }
  }

  package func hasCarrier(_ name: String) -> Bool? {
    SmallFile.text("/sys/class/net/\(name)/carrier").map { $0 == "1" }
  }

  package func exists(_ name: String) -> Bool { SmallFile.exists("/sys/class/net/\(name)") }

  package func bringDown(_ name: String) throws(SystemError) {
    try check("take \(name) down") { clinux_interface_down(name) }
  }

  package func addVLAN(_ id: UInt16, on base: String, named name: String) throws(SystemError) {
    let before = Set(SmallFile.names(in: "/sys/class/net"))
    try check("add VLAN \(id) on \(base)") { clinux_vlan_add(base, CInt(id)) }
    // The kernel gives it a name of its own.
    guard let made = SmallFile.names(in: "/sys/class/net").first(where: { !before.contains($0) }) else {
      throw SystemError("find VLAN \(id) on \(base)", code: ENODEV)
    }
    if made != name { try check("name \(made) \(name)") { clinux_interface_rename(made, name) } }
  }

  package func addBond(_ name: String) throws(SystemError) {
    try Self.put("+\(name)", into: "/sys/class/net/bonding_masters")
  }

  package func setBond(_ option: String, to value: String, of name: String) throws(SystemError) {
    try Self.put(value, into: "/sys/class/net/\(name)/bonding/\(option)")
  }

  package func members(ofBond name: String) -> [String] {
    (SmallFile.text("/sys/class/net/\(name)/bonding/slaves") ?? "").split(separator: " ").map(String.init)
  }

  package func addMember(_ member: String, toBond name: String) throws(SystemError) {
    try Self.put("+\(member)", into: "/sys/class/net/\(name)/bonding/slaves")
  }

  private static func put(_ text: String, into path: String) throws(SystemError) {
    let file = try OpenFile(path, flags: O_WRONLY)
    let bytes = Array(text.utf8)
    try check("write '\(text)' into \(path)") { write(file.descriptor, bytes, bytes.count) }
  }

  /// Whether any interface holds the address.
  package static func holds(_ address: IPv4Address) -> Bool {
    // The kernel lists every local address in its forwarding trie; reading it needs no socket.
    guard let text = SmallFile.text("/proc/net/fib_trie") else { return false }
    var previous: Substring = ""
    for line in text.split(separator: "\n") {
      if line.hasSuffix("/32 host LOCAL"), previous.hasSuffix(" \(address)") { return true }
      previous = line
    }
    return false
  }
}
