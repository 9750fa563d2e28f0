/// Why the DHCP server cannot start. Each says what to do about it.
package enum DHCPServerError: Error, Hashable, Sendable, CustomStringConvertible {
  case noSuchInterface(String)
  case interfaceDown(String)
  case notEthernet(String)
  case noPermission(what: String, interface: String)
  case portInUse(port: UInt16, interface: String)
  /// A system call or a call of libpcap failed in a way that has no name here.
  case failed(what: String, interface: String, why: String)

  package var description: String {
    switch self {
    case .noSuchInterface(let name):
      "DHCP cannot use the interface '\(name)': there is none of that name. "
        + "`ip link` lists them; set network.interface in the configuration."
    case .interfaceDown(let name):
      "DHCP cannot use the interface '\(name)': it is down. Bring it up with `ip link set \(name) up`."
    case .notEthernet(let name):
      "DHCP cannot use the interface '\(name)': it is no Ethernet card. Set network.interface to one that is."
    case .noPermission(let what, let interface):
      "DHCP may not \(what) on '\(interface)'. Run as root, or with the capabilities "
        + "CAP_NET_RAW and CAP_NET_BIND_SERVICE."
    case .portInUse(let port, let interface):
      "DHCP cannot listen on UDP port \(port) of '\(interface)': another program has it. "
        + "`ss -lunp 'sport = \(port)'` names it; stop it (often dnsmasq, isc-dhcp-server or kea), "
        + "or set dhcp.mode to off."
    case .failed(let what, let interface, let why):
      "DHCP on '\(interface)' could not \(what): \(why)."
    }
  }
}
