import DHCP
import DHCPWire
import Lab
import Logging
import NetworkTypes
import Synchronization
import Testing

/// A DHCP server of ours at one end of a cable, in this process, and a namespace for clients at the other.
struct DHCPLab {
  static let serverAddress = IPv4Address(10, 77, 0, 1)
  static let subnet = "10.77.0.0/24"

  let server: DHCPServer
  let store: MemoryLeaseStore
  let policy: TestPolicy
  let exchanges: ExchangeLog
  /// Where clients live; their card is `eth0`.
  let clients: NetworkNamespace
  let card: MACAddress

  /// Runs a server on a cable of its own for the time of `body`.
  /// - Parameter prepare: Done before the server starts; the interface is its end of the cable.
  static func with(
    store: MemoryLeaseStore = MemoryLeaseStore(), policy: TestPolicy = TestPolicy(), leaseSeconds: UInt32 = 600,
    pools: [String] = ["10.77.0.100-10.77.0.199"], relayed: [DHCPServerConfiguration.Network] = [],
    searchMilliseconds: Int = 0, logger: Logger = Logger(label: "dhcp"),
    prepare: (_ clients: NetworkNamespace, _ interface: String) async throws -> Void = { _, _ in },
    _ body: (DHCPLab) async throws -> Void
  ) async throws {
    try await NetworkNamespace.with("dhcp") { clients in
      let interface = "d\(UInt32.random(in: 0x100_0000 ... .max))"
      let card = MACAddress(rawValue: 0x0200_0000_0000 | UInt64(UInt32.random(in: .min ... .max)))
      try await Command(
        "ip", "link", "add", "name", interface, "type", "veth", "peer", "name", "eth0", "address", "\(card)",
        "netns", clients.name
      ).run().check()
      // Deleting the namespace takes both ends of the cable with it.
      try await Command("ip", "address", "add", "\(serverAddress)/24", "broadcast", "+", "dev", interface).run().check()
      try await Command("ip", "link", "set", interface, "up").run().check()
      try await clients.ip("link", "set", "eth0", "up")
      try await prepare(clients, interface)
      let subnet = try #require(IPv4Subnet(subnet))
      let pools = try pools.map { try #require(IPv4Range($0)) }
      let route = try #require(ClasslessRoute("192.168.128.0/17 via 10.77.0.7"))
      let exchanges = ExchangeLog()
      let (ready, isReady) = AsyncStream<Void>.makeStream()
      let server = DHCPServer(
        configuration: DHCPServerConfiguration(
          interface: interface, serverAddress: serverAddress,
          network: .init(
            subnet: subnet, pools: pools, router: serverAddress, mtu: 1400,
            domainSearch: ["cluster.test", "example.test"], routes: [route]), relayed: relayed,
          leaseSeconds: leaseSeconds,
          nameServers: [serverAddress], domain: "cluster.test", searchMilliseconds: searchMilliseconds),
        policy: policy, store: store, observer: exchanges, logger: logger,
        whenReady: { isReady.finish() })
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask {
          defer { isReady.finish() }
          try await server.run()
        }
        for await _ in ready {}
        let lab = DHCPLab(
          server: server, store: store, policy: policy, exchanges: exchanges, clients: clients, card: card)
        do {
          try await body(lab)
        } catch {
          group.cancelAll()
          throw error
        }
        group.cancelAll()
        try await group.waitForAll()
      }
    }
  }
}

/// Leases that live as long as the test.
final class MemoryLeaseStore: LeaseStore {
  private let records = Mutex<[IPv4Address: Lease]>([:])

  func leases() async throws -> [Lease] { records.withLock { Array($0.values) } }

  func commit(_ leases: [Lease], done: @escaping @Sendable ((any Error)?) -> Void) {
    records.withLock { records in
      for lease in leases { records[lease.address] = lease }
    }
    done(nil)
  }

  func lease(at address: IPv4Address) -> Lease? { records.withLock { $0[address] } }
  var bound: [Lease] { records.withLock { $0.values.filter { $0.state == .bound } } }
}

struct TestPolicy: ClientPolicy {
  var reservations: [MACAddress: IPv4Address] = [:]
  var bootFile: String?
  /// Registered machines, and how many of them have no address.
  var known: Set<MACAddress> = []
  var waiting = 0

  func isKnown(_ card: MACAddress) -> Bool { known.contains(card) }
  func reservation(for client: ClientDescription) -> IPv4Address? { reservations[client.hardwareAddress] }
  func owner(of address: IPv4Address) -> MACAddress? { reservations.first { $0.value == address }?.key }
  func boot(for client: ClientDescription) -> BootAnswer {
    BootAnswer(bootFile: bootFile, hostName: "n0001", reason: "a test")
  }
}

/// Exchanges as they happen, for a test to wait for one.
final class ExchangeLog: ExchangeObserver {
  private let exchanges = Mutex<[Exchange]>([])
  private let servers = Mutex<[OtherServer]>([])
  private let found = Mutex<[AddressConflict]>([])
  private let stream: AsyncStream<Void>
  private let signal: AsyncStream<Void>.Continuation

  init() {
    (stream, signal) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
  }

  func observed(_ exchange: Exchange) {
    exchanges.withLock { $0.append(exchange) }
    signal.yield()
  }

  func observed(_ server: OtherServer) {
    servers.withLock { $0.append(server) }
    signal.yield()
  }

  func observed(_ conflict: AddressConflict) {
    found.withLock { $0.append(conflict) }
    signal.yield()
  }

  var conflicts: [AddressConflict] { found.withLock { $0 } }
  var otherServers: [OtherServer] { servers.withLock { $0 } }
  var all: [Exchange] { exchanges.withLock { $0 } }
  /// `DISCOVER>OFFER` and so on.
  var steps: [String] { all.map { "\($0.received)>\($0.sent ?? "")" } }

  /// Waits until an exchange reads like `step`.
  /// - Returns: Whether one did within ten seconds.
  func contains(_ step: String, within limit: Duration = .seconds(60)) async -> Bool {
    await holds(within: limit) { self.steps.contains(step) }
  }

  /// Waits until something is true of what was observed.
  /// - Returns: Whether it was in time.
  func holds(within limit: Duration = .seconds(60), _ condition: @escaping @Sendable () -> Bool) async -> Bool {
    await withTaskGroup(of: Bool.self) { group in
      group.addTask {
        if condition() { return true }
        for await _ in self.stream where condition() { return true }
        return false
      }
      group.addTask {
        try? await Task.sleep(for: limit)
        return false
      }
      let result = await group.next() ?? false
      group.cancelAll()
      return result
    }
  }
}
