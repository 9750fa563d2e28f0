import DHCPClient
import Foundation
import NetworkTypes
import Stage1
import StateClient
import Testing

@Suite("The resolver's file")
struct ResolverTests {
  private func lease(domain: String? = nil, search: [String] = [], servers: [IPv4Address]) -> AcquiredLease {
    AcquiredLease(
      address: IPv4Address(10, 0, 0, 5), prefixLength: 24, router: nil, serverIdentifier: IPv4Address(10, 0, 0, 1),
      leaseSeconds: 60, renewalSeconds: 30, rebindingSeconds: 52, obtainedAt: 0, nameServers: servers, domain: domain,
      domainSearch: search)
  }

  @Test("search domains go before the one domain, which stands in where there are none")
  func search() {
    let servers = [IPv4Address(10, 0, 0, 2), IPv4Address(10, 0, 0, 3)]
    #expect(
      Resolver.text(lease(domain: "a.test", search: ["b.test", "c.test"], servers: servers))
        == "search b.test c.test\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n")
    #expect(
      Resolver.text(lease(domain: "a.test", servers: servers))
        == "search a.test\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n")
    #expect(Resolver.text(lease(domain: "no name\nnameserver 6.6.6.6", servers: [])) == "")
  }

  @Test("a root that has a resolver keeps it, and no name servers make no file")
  func keeps() throws {
    let root = FileManager.default.temporaryDirectory.appending(path: "resolver-\(UUID())").path
    defer { try? FileManager.default.removeItem(atPath: root) }
    try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
    try Resolver.set(lease(servers: []), in: RootedPath(root))
    #expect(!FileManager.default.fileExists(atPath: root + "/etc/resolv.conf"))
    try Resolver.set(lease(servers: [IPv4Address(10, 0, 0, 2)]), in: RootedPath(root))
    try Resolver.set(lease(servers: [IPv4Address(10, 0, 0, 9)]), in: RootedPath(root))
    #expect(try String(contentsOfFile: root + "/etc/resolv.conf", encoding: .utf8) == "nameserver 10.0.0.2\n")
  }
}
