import DHCP
import NetworkTypes
import TFTP
import Testing

@testable import Provisioner

@Suite("What is tried with firmware that does not boot")
struct FirmwareTrialTests {
  private static let uefi: [BootDelivery] = [.plain, .direct, .bootServer]

  /// A firmware, and what is tried with it.
  private final class Desk {
    var trial: FirmwareTrial

    init(proven: FirmwareTrial.Strategy? = nil) {
      trial = FirmwareTrial(proven: proven)
    }

    /// Offers as often as the firmware asks, and says what each time.
    func ask(_ times: Int, order: [BootDelivery] = uefi, canSign: Bool = false) -> [FirmwareTrial.Strategy] {
      (0..<times).compactMap { _ in
        let strategy = trial.next(of: order, canSign: { canSign })
        if let strategy { _ = trial.offered(strategy, usual: order.first.map { FirmwareTrial.Strategy($0) }) }
        return strategy
      }
    }

    func load() {
      trial.loading()
      trial.loaded()
    }

    func speak() -> Bool { trial.spoke() }
  }

  @Test("it asks again and again and loads nothing: each way is tried twice, and then they begin anew")
  func moves() {
    let desk = Desk()
    #expect(
      desk.ask(8).map(\.delivery) == [.plain, .plain, .direct, .direct, .bootServer, .bootServer, .plain, .plain])
    #expect(desk.trial.proven == nil)
  }

  @Test("what is acknowledged is what was offered, however often it was offered")
  func bound() {
    let desk = Desk()
    #expect(desk.ask(3).last?.delivery == .direct)
    #expect(desk.trial.bound(to: Self.uefi, canSign: { false }) == FirmwareTrial.Strategy(.direct))
    #expect(FirmwareTrial().bound(to: Self.uefi, canSign: { false }) == FirmwareTrial.Strategy(.plain))
  }

  @Test("what it loads and what then speaks is what works, and stays for longer")
  func proves() {
    let desk = Desk()
    _ = desk.ask(3)
    desk.load()
    #expect(desk.speak() && desk.trial.proven == FirmwareTrial.Strategy(.direct))
    #expect(!desk.speak(), "nothing new")
    #expect(desk.ask(5).map(\.delivery) == [.direct, .direct, .direct, .direct, .bootServer])
    #expect(Desk(proven: .init(.direct)).ask(1) == [FirmwareTrial.Strategy(.direct)])
    let other = Desk()
    _ = other.ask(3)
    #expect(!other.speak() && other.trial.proven == nil, "an iPXE of the card's own proves nothing")
  }

  @Test("a machine that boots and boots again never moves")
  func stays() {
    let desk = Desk()
    for _ in 0..<20 {
      #expect(desk.ask(1) == [FirmwareTrial.Strategy(.plain)])
      desk.load()
      _ = desk.speak()
    }
  }

  @Test("iPXE is loaded whole and never speaks: shim and GRUB, where they may be tried; and back where they are silent")
  func signs() {
    let signed = FirmwareTrial.Strategy(.plain, .signed)
    for speaks in [true, false] {
      let desk = Desk()
      _ = desk.ask(1, canSign: true)
      desk.load()
      #expect(desk.ask(1, canSign: true) == [signed])
      desk.load()
      if speaks {
        #expect(desk.speak() && desk.trial.proven == signed)
        #expect(desk.ask(1, canSign: true) == [signed])
      }
      // Set otherwise meanwhile, or silent as well.
      #expect(desk.ask(1, canSign: !speaks) == [FirmwareTrial.Strategy(.plain)])
    }
  }

  @Test("of a machine that iPXE has booted before, three silences are needed: power may have been cut")
  func powerCut() {
    let desk = Desk(proven: .init(.plain))
    for expected in [FirmwareTrial.Loader.usual, .usual, .usual, .signed] {
      #expect(desk.ask(1, canSign: true).map(\.loader) == [expected])
      desk.load()
    }
  }

  @Test("a card that moved to other firmware begins with what is usual there")
  func otherFirmware() {
    #expect(Desk(proven: .init(.plain)).ask(1, order: [.bootServer, .direct]).map(\.delivery) == [.bootServer])
    #expect(Desk().ask(1, order: []).isEmpty)
    let desk = Desk()
    _ = desk.ask(1, order: [.direct, .plain, .bootServer])
    #expect(desk.ask(3).map(\.delivery) == [.plain, .plain, .direct])
  }
}

@Suite("A machine whose firmware does not boot with what is usual")
struct FirmwareTrialsTests {
  private func client(_ type: String, _ speaker: ClientDescription.Speaker = .pxeFirmware) -> ClientDescription {
    var client = ClientDescription(
      hardwareAddress: mac(1), architectures: [7], speaker: speaker, serverAddress: IPv4Address(10, 0, 0, 1))
    client.isDiscovering = type == "DISCOVER"
    return client
  }

  /// As DHCP does: asks the policy, and tells the observer.
  @discardableResult
  private func say(_ type: String, _ appliance: Appliance, _ speaker: ClientDescription.Speaker = .pxeFirmware)
    -> BootAnswer
  {
    let client = client(type, speaker)
    let answer = appliance.clientPolicy.boot(for: client)
    appliance.observer.observed(
      Exchange(
        received: type, sent: type == "DISCOVER" ? "OFFER" : "ACK", client: client, address: IPv4Address(10, 0, 0, 21),
        bootFile: answer.bootFile, reason: LeaseReason.neverUsed.rawValue, boot: answer, quirks: ["uefi"]))
    return answer
  }

  private func load(_ name: String, _ appliance: Appliance) {
    for kind in [TransferEvent.Kind.probed, .started, .finished] {
      appliance.observer.observed(
        TransferEvent(
          kind: kind, name: name, client: IPv4Address(10, 0, 0, 21), bytes: 1000, seconds: 0.1, retransmissions: 0,
          blockSize: 1432, windowSize: 1))
    }
  }

  @Test("gets another answer, boots with that, keeps it through a new start of the appliance, and the timeline says so")
  func remembered() async throws {
    let directory = try TestDirectory()
    var appliance = try await makeAppliance(directory)
    #expect(say("DISCOVER", appliance).delivery == .plain)
    #expect(say("DISCOVER", appliance).delivery == .plain)
    #expect(say("DISCOVER", appliance).delivery == .direct)
    #expect(say("REQUEST", appliance).delivery == .direct)
    load("snponly.efi", appliance)
    say("DISCOVER", appliance, .ipxe)
    _ = await appliance.nodeService.respond(to: .get("/ipxe", ["mac": mac(1).description]))
    let timeline = try await appliance.nodeTimeline("n0000")
    #expect(timeline.filter { $0.event == "strategy" }.count == 2, "\(timeline.map(\.detail))")
    #expect(timeline.contains { $0.detail.contains("43.6=8") && $0.detail.contains("remembered") })
    let why = try appliance.nodeWhy("n0000")
    #expect(why.strategy?.delivery == "direct" && why.strategy?.isProven == true)
    #expect(why.heard.map(\.client) == ["UEFI x64 firmware", "iPXE"])
    #expect(why.heard.first?.rules.first?.source.contains("EDK2") == true)
    try await appliance.ledger.trials.flush()
    try await appliance.close()

    appliance = try await makeAppliance(directory)
    #expect(say("DISCOVER", appliance).delivery == .direct)
    _ = try await appliance.deleteNodes(["n0000"])
    #expect(say("DISCOVER", appliance).delivery == .plain)
    try await appliance.close()
    appliance = try await makeAppliance(directory)
    #expect(say("DISCOVER", appliance).delivery == .plain, "what a deleted node's firmware booted with is forgotten")
    try await appliance.close()
  }

  @Test("gets shim and GRUB once iPXE was loaded and never spoke, unless an administrator has set how it boots")
  func secureBoot() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    #expect(say("DISCOVER", appliance).bootFile == "snponly.efi")
    say("REQUEST", appliance)
    load("snponly.efi", appliance)
    let answer = say("DISCOVER", appliance)
    #expect(answer.bootFile == "shimx64.efi" && answer.reason.contains("Secure Boot"))
    #expect(say("REQUEST", appliance).bootFile == "shimx64.efi")
    load("shimx64.efi", appliance)
    _ = await appliance.bootContent.content(
      named: "grub/grub.cfg-01-52-54-00-00-00-01", for: IPv4Address(10, 0, 0, 21), at: IPv4Address(10, 0, 0, 1))
    #expect(try appliance.nodeWhy("n0000").strategy?.loader == "signed")
    #expect(say("DISCOVER", appliance).bootFile == "shimx64.efi")
    _ = try await appliance.setNodes(["n0000"], key: "boot", value: "ipxe")
    #expect(say("DISCOVER", appliance).bootFile == "snponly.efi")
    try await appliance.close()
  }

  @Test("is known by the address that it took from another server, where addresses are not ours")
  func proxied() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    var client = client("REQUEST")
    client.isProxied = true
    appliance.observer.observed(
      Exchange(
        received: "REQUEST", sent: nil, client: client, address: IPv4Address(10, 0, 0, 21), bootFile: nil,
        reason: "the server 10.0.0.2 gives the address"))
    #expect(appliance.ledger.mac(at: IPv4Address(10, 0, 0, 21)) == mac(1))
    // Of an offer that a client did not take from us, nothing is known.
    client.isProxied = false
    appliance.observer.observed(
      Exchange(
        received: "REQUEST", sent: nil, client: client, address: IPv4Address(10, 0, 0, 22), bootFile: nil,
        reason: LeaseReason.tookOther.rawValue))
    #expect(appliance.ledger.mac(at: IPv4Address(10, 0, 0, 22)) == nil)
    try await appliance.close()
  }

  @Test("is not told by machines that just boot: nothing is written for them")
  func usual() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    say("DISCOVER", appliance)
    say("REQUEST", appliance)
    load("snponly.efi", appliance)
    say("DISCOVER", appliance, .ipxe)
    try await appliance.ledger.trials.flush()
    #expect(appliance.registry.read { $0.strategies }.isEmpty)
    try await appliance.close()
  }

  @Test("lines of the timeline are short: the ACK does not say again what the OFFER said")
  func lines() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    say("DISCOVER", appliance)
    say("REQUEST", appliance)
    say("DISCOVER", appliance, .ipxe)
    _ = await appliance.nodeService.respond(to: .get("/ipxe", ["mac": mac(1).description]))
    let lines = try await appliance.nodeTimeline("n0000").filter { $0.source == .dhcp }.map(\.detail)
    #expect(
      lines == [
        "UEFI x64 firmware: OFFER 10.0.0.21, snponly.efi by TFTP; rule uefi", "UEFI x64 firmware: ACK 10.0.0.21",
        "iPXE: OFFER 10.0.0.21, its script by HTTP; rule uefi",
      ])
    try await appliance.close()
  }
}
