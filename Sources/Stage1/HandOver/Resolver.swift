package import DHCPClient
package import StateClient

/// Where names are looked up, as the DHCP server says.
package enum Resolver {
  /// Only where the server named name servers and the root has no resolver of its own, be it a link
  /// that leads nowhere before its daemon runs.
  package static func set(_ lease: AcquiredLease, in root: RootedPath) throws(SystemError) {
    guard !lease.nameServers.isEmpty, !root.hasEntry("/etc/resolv.conf") else { return }
    try root.replace("/etc/resolv.conf", with: Array(text(lease).utf8), mode: 0o644)
  }

  /// The file's text. Search domains (option 119) go before the one domain (option 15), which is the
  /// search list of those who have no other.
  package static func text(_ lease: AcquiredLease) -> String {
    var text = ""
    let domains = lease.domainSearch.isEmpty ? lease.domain.map { [$0] } ?? [] : lease.domainSearch
    let search = domains.filter(HandOver.isHostName)
    if !search.isEmpty { text += "search \(search.joined(separator: " "))\n" }
    for server in lease.nameServers.prefix(3) { text += "nameserver \(server)\n" }
    return text
  }
}
