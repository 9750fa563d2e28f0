import DHCPClient
import DHCPWire
import NetworkTypes
import StateClient
import StateProtocol
import Testing

@Suite("The lease keeper")
struct LeaseKeeperTests {
  static let silence = DHCPClientError.noAnswer(interface: "eth0", what: "REQUEST", seconds: 10)

  /// Answers in place of a DHCP server and the kernel, and keeps what was asked.
  final class Fake: Sendable {
    struct State {
      var log: [String] = []
      var renewal = Result<AcquiredLease, DHCPClientError>.failure(silence)
      var acquisition = Result<AcquiredLease, DHCPClientError>.failure(silence)
      var isHeld = true
      var systemClient: String?
    }

    let state = Monitor(State())

    var actions: LeaseKeeper.Actions {
      .init(
        renew: { lease in
          try self.state.update { state in
            state.log.append("renew")
            return state.renewal
          }.get()
        },
        acquire: { address in
          try self.state.update { state in
            state.log.append("acquire \(address)")
            return state.acquisition
          }.get()
        },
        isHeld: { _ in self.state.update { $0.isHeld } },
        install: { lease in self.state.update { $0.log.append("install \(lease.address)") } },
        save: { record in self.state.update { $0.log.append("save \(record.address)") } },
        systemClient: { _ in self.state.update { $0.systemClient } })
    }

    var log: [String] {
      state.update { state in
        defer { state.log = [] }
        return state.log
      }
    }
  }

  func lease(_ host: UInt8 = 5, at obtained: Double = 100) -> AcquiredLease {
    AcquiredLease(
      LeaseRecord(
        address: IPv4Address(10, 0, 0, host), prefixLength: 24, router: nil, serverIdentifier: IPv4Address(10, 0, 0, 1),
        seconds: 60, obtainedAt: obtained))
  }

  @Test("asks at half of the time, and not before")
  func renewsAtHalf() {
    let fake = Fake()
    fake.state.update { $0.renewal = .success(lease(at: 130)) }
    var keeper = LeaseKeeper(lease(), actions: fake.actions, say: { _ in })
    keeper.attend(at: 129)
    #expect(fake.log.isEmpty)
    #expect(keeper.dueAt == 130)
    keeper.attend(at: 130)
    #expect(fake.log == ["renew", "save 10.0.0.5"])
    #expect(keeper.dueAt == 160)
  }

  @Test("asks less and less often for another address while nobody has one")
  func backsOffWithoutLease() {
    let fake = Fake()
    var keeper = LeaseKeeper(lease(), actions: fake.actions, say: { _ in })
    var now = 200.0
    var pauses: [Double] = []
    for _ in 0..<8 {
      keeper.attend(at: now)
      #expect(fake.log == ["acquire 10.0.0.5"])
      pauses.append(keeper.dueAt - now)
      now = keeper.dueAt
    }
    #expect(pauses.suffix(3).allSatisfy { (30...90).contains($0) }, "\(pauses)")
  }

  @Test("asks again while nobody answers, and for another address once the lease is over")
  func recoversAfterSilence() {
    let fake = Fake()
    var keeper = LeaseKeeper(lease(), actions: fake.actions, say: { _ in })
    var now = 130.0
    while now < 160 {
      keeper.attend(at: now)
      #expect(fake.log == ["renew"])
      #expect(keeper.dueAt > now)
      #expect(keeper.dueAt <= 160)
      now = keeper.dueAt
    }
    keeper.attend(at: now)
    #expect(fake.log == ["acquire 10.0.0.5"])
    #expect(keeper.dueAt > now)
    fake.state.update { $0.acquisition = .success(lease(9, at: 170)) }
    keeper.attend(at: keeper.dueAt)
    #expect(fake.log == ["acquire 10.0.0.5", "install 10.0.0.9", "save 10.0.0.9"])
    #expect(keeper.lease.address == IPv4Address(10, 0, 0, 9))
  }

  @Test("keeps the address set where the same one is given again")
  func keepsSameAddress() {
    let fake = Fake()
    fake.state.update {
      $0.renewal = .failure(.refused(IPv4Address(10, 0, 0, 5), message: "not here"))
      $0.acquisition = .success(lease(at: 131))
    }
    var keeper = LeaseKeeper(lease(), actions: fake.actions, say: { _ in })
    keeper.attend(at: 130)
    #expect(fake.log == ["renew", "acquire 10.0.0.5", "save 10.0.0.5"])
  }

  @Test("leaves the lease to the operating system where that has taken the address over")
  func yieldsToSystem() {
    let fake = Fake()
    fake.state.update { $0.isHeld = false }
    var keeper = LeaseKeeper(lease(), actions: fake.actions, say: { _ in })
    keeper.attend(at: 130)
    #expect(fake.log.isEmpty)
    #expect(keeper.dueAt == .infinity)
  }

  @Test("asks nothing while the operating system has a DHCP client, not at the end either, and goes on once it is gone")
  func leavesToClient() {
    let fake = Fake()
    let said = Monitor([String]())
    fake.state.update { $0.systemClient = "dhclient" }
    var keeper = LeaseKeeper(lease(), actions: fake.actions, say: { line in said.update { $0.append(line) } })
    for now in [130.0, 160, 190, 220] {
      #expect(keeper.dueAt == now)
      keeper.attend(at: now)
    }
    #expect(fake.log.isEmpty)
    #expect(said.update { $0 } == ["the lease of 10.0.0.5 is left to the operating system: dhclient"])
    fake.state.update {
      $0.systemClient = nil
      $0.acquisition = .success(lease(at: 250))
    }
    keeper.attend(at: 250)
    #expect(fake.log == ["acquire 10.0.0.5", "save 10.0.0.5"])
    #expect(keeper.dueAt == 280)
  }

  @Test("sees a client by the port it listens at, and udhcpc, which has none, by its command line")
  func signs() {
    let table = """
        sl  local_address rem_address   st tx_queue
       3057: 4B00090A:0044 00000000:0000 07 00
       3057: 00000000:0045 00000000:0000 07 00
      """
    #expect(SystemDHCPClient.listeners(onPort: 68, table) == [IPv4Address(10, 9, 0, 75)])
    #expect(SystemDHCPClient.listeners(onPort: 69, table) == [.any])
    let sockets = """
      sk               RefCnt Type Proto  Iface R Rmem   User   Inode
      000000003fbd68f1 3      3    88cc   3     1 0      0      57
      000000003fbd68f1 3      3    0003   2     1 0      0      58
      """
    #expect(SystemDHCPClient.hasPacketSocket(onIndex: "2", sockets))
    #expect(!SystemDHCPClient.hasPacketSocket(onIndex: "3", sockets))
    for (words, interface) in [
      (["udhcpc"], "eth0"), (["/sbin/udhcpc", "-b", "-i", "eth1"], "eth1"), (["busybox", "udhcpc", "-ieth2"], "eth2"),
      (["udhcpc", "--interface=eth3", "-R"], "eth3"),
    ] {
      #expect(SystemDHCPClient.isUdhcpc(words, for: interface), "\(words)")
      #expect(!SystemDHCPClient.isUdhcpc(words, for: "eth9"), "\(words)")
    }
    #expect(!SystemDHCPClient.isUdhcpc(["vi", "udhcpc"], for: "eth0") && !SystemDHCPClient.isUdhcpc([], for: "eth0"))
  }

  @Test("never asks for more time where the lease has no end")
  func infinite() {
    var endless = lease()
    endless.leaseSeconds = .max
    let keeper = LeaseKeeper(endless, actions: Fake().actions, say: { _ in })
    #expect(keeper.dueAt == .infinity)
  }

  @Test("the handed-over lease carries MTU, search domains and routes, and one without them is read too")
  func record() throws {
    var rich = lease()
    rich.mtu = 9000
    rich.domainSearch = ["cluster.test"]
    rich.routes = [ClasslessRoute("192.168.128.0/17 via 10.0.0.7")!]
    let bytes = try ProtocolJSON.encode(LeaseRecord(rich))
    let read = try ProtocolJSON.decode(LeaseRecord.self, from: bytes, limit: 4096)
    #expect(AcquiredLease(read) == rich)
    // As a stage 1 of another age wrote it.
    let old = try ProtocolJSON.decode(
      LeaseRecord.self, from: try ProtocolJSON.encode(LeaseRecord(lease())), limit: 4096)
    #expect(old.mtu == nil && old.routes == nil && old.domainSearch == nil)
    #expect(AcquiredLease(old) == lease())
  }
}
