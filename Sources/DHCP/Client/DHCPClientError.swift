package import NetworkTypes

/// Why a client has no lease.
package enum DHCPClientError: Error, Hashable, Sendable, CustomStringConvertible {
  /// There is no such interface.
  case noSuchInterface(String)
  /// Another client of this machine has the client's port.
  case portInUse(interface: String)
  /// A system call failed.
  case failed(what: String, interface: String, why: String)
  /// Nobody answered in the time given.
  case noAnswer(interface: String, what: String, seconds: Int)
  /// The server said no to the address in use: it must not be used any more.
  case refused(IPv4Address, message: String?)
  /// The lease is over: its address must not be used any more.
  case expired(IPv4Address)

  package var description: String {
    switch self {
    case .noSuchInterface(let name):
      "DHCP on '\(name)': there is no such interface."
    case .portInUse(let name):
      "DHCP on '\(name)': UDP port \(68) is in use by another DHCP client of this machine; "
        + "leave the lease to it, or stop it."
    case .failed(let what, let name, let why):
      "DHCP on '\(name)' could not \(what): \(why)."
    case .noAnswer(let name, let what, let seconds):
      "DHCP on '\(name)': no answer to \(what) in \(seconds) seconds. "
        + "Is the cable in the right network, and does a DHCP server answer there?"
    case .refused(let address, let message):
      "DHCP: the server refuses the address \(address)\(message.map { " (\($0))" } ?? "")."
    case .expired(let address):
      "DHCP: the lease of \(address) has run out."
    }
  }

  /// Whether asking again later can help without anything being changed.
  package var isTemporary: Bool {
    switch self {
    case .noAnswer, .refused, .expired: true
    case .noSuchInterface, .portInUse, .failed: false
    }
  }
}
