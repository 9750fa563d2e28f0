import CLinux
import Glibc
package import NetworkTypes

/// What is set on a network interface.
package protocol InterfaceControl {
  func bringUp(_ name: String) throws(SystemError)
  /// Sets the address, in place of the one that is there.
  func setAddress(_ address: IPv4Address, prefixLength: Int, on name: String) throws(SystemError)
  func setDefaultRoute(through router: IPv4Address, on name: String) throws(SystemError)
  /// `nil` while the interface is down.
  func hasCarrier(_ name: String) -> Bool?
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

  package func setDefaultRoute(through router: IPv4Address, on name: String) throws(SystemError) {
    try check("route through \(router) on \(name)") { clinux_default_route(name, router.rawValue.bigEndian) }
  }

  package func hasCarrier(_ name: String) -> Bool? {
    SmallFile.text("/sys/class/net/\(name)/carrier").map { $0 == "1" }
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
