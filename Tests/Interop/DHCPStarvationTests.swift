import Lab
import Logging
import NetworkTypes
import Synchronization
import Testing

@testable import DHCP

/// Too many clients for a pool, with a tool that is made for it.
@Suite(.enabled(if: NetworkNamespace.isAvailable, Comment(rawValue: NetworkNamespace.unavailable)), .serialized)
struct DHCPStarvationTests {
  private static let bound = Duration.seconds(120)

  private func udhcpc(_ lab: DHCPLab) async throws {
    try await lab.clients.command(
      "busybox", "udhcpc", "-f", "-n", "-q", "-t", "10", "-T", "2", "-i", "eth0", "-s", "/bin/true"
    ).run(timeout: .seconds(60)).check()
  }

  @Test("dhcpstarv takes what is left of a pool; a registered machine finds its address, another one an address")
  func starved() async throws {
    let card = MACAddress(rawValue: 0x0200_0000_0077)
    let newcomer = MACAddress(rawValue: 0x0200_0000_0076)
    let warnings = WarningCount()
    let begin = ContinuousClock.now
    let logger = Logger(label: "dhcp") { _ in warnings }
    func prepare(_ clients: NetworkNamespace, _ interface: String) async throws {
      // The registered machine's card, instead of the one that the cable came with.
      try await clients.ip("link", "set", "eth0", "address", "\(card)")
    }
    // It was here once, and its lease ended long ago.
    let store = MemoryLeaseStore()
    let mine = IPv4Address(10, 77, 0, 105)
    try await store.commit([Lease(address: mine, holder: .hardware(card), state: .bound, expires: 1)])
    try await DHCPLab.with(
      store: store, policy: TestPolicy(known: [card, newcomer], waiting: 1), pools: ["10.77.0.100-10.77.0.119"],
      logger: logger, prepare: prepare
    ) { lab in
      let starvation = try RunningProcess(lab.clients.command("dhcpstarv", "-v", "-i", "eth0"))
      #expect(
        await lab.exchanges.holds(within: Self.bound) {
          lab.exchanges.all.count { $0.reason.contains("exhausted") } >= 3
        })
      let taken = lab.store.bound.filter { $0.holder != .hardware(card) }
      // One of the twenty is kept for who had it, one for the machine that waits.
      #expect(taken.count == 18 && !taken.contains { $0.address == mine })
      try await udhcpc(lab)
      #expect(lab.exchanges.all.last { $0.client.hardwareAddress == card }?.sent == "ACK")
      #expect(lab.store.lease(at: mine)?.holder == .hardware(card) && (lab.store.lease(at: mine)?.expires ?? 0) > 1)
      // Registered beforehand, and never here until now.
      try await lab.clients.ip("link", "set", "eth0", "address", "\(newcomer)")
      try await udhcpc(lab)
      #expect(lab.store.bound.contains { $0.holder == .hardware(newcomer) })
      await starvation.stop()
      let minutes = Int((ContinuousClock.now - begin).components.seconds) / 60
      #expect(warnings.count(of: "no address is free") <= 1 + minutes)
    }
  }

  @Test("a flood of DISCOVERs from random cards, which nobody takes up, leaves a registered machine its address")
  func flooded() async throws {
    let card = MACAddress(rawValue: 0x0200_0000_0078)
    func prepare(_ clients: NetworkNamespace, _ interface: String) async throws {
      try await clients.ip("link", "set", "eth0", "address", "\(card)")
    }
    try await DHCPLab.with(
      policy: TestPolicy(known: [card]), pools: ["10.77.0.100-10.77.0.119"], prepare: prepare
    ) { lab in
      let flood = Crowd.cards(500)
      let offers = try await Crowd(namespace: lab.clients).run(
        flood, to: .offer, isOver: { _ in lab.exchanges.all.contains { $0.reason.contains("exhausted") } })
      #expect(Set(offers.values).count == 20)
      try await udhcpc(lab)
      #expect(lab.store.bound.map(\.holder) == [.hardware(card)])
      #expect(lab.exchanges.all.contains { $0.reason.hasPrefix(LeaseReason.reclaimed.rawValue) })
    }
  }
}

/// Counts warnings by their text.
private final class WarningCount: LogHandler {
  private let texts = Mutex<[String]>([])
  var metadata: Logger.Metadata {
    get { [:] }
    set {}
  }
  var logLevel: Logger.Level {
    get { .warning }
    set {}
  }
  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { nil }
    set {}
  }

  func log(event: LogEvent) { texts.withLock { $0.append("\(event.message)") } }

  func count(of text: String) -> Int { texts.withLock { $0.count { $0.contains(text) } } }
}
