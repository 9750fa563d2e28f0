import CapsuleFormat
import DHCP
import NetworkTypes
import TFTP
import Testing

@testable import Provisioner

@Suite("The boot decision")
struct BootPolicyTests {
  private func answer(
    _ speaker: ClientDescription.Speaker, _ architectures: [UInt16], _ adjust: (inout Node) -> Void = { _ in },
    isNode: Bool = true
  ) -> BootAnswer {
    var node = Node(name: "n0001", macs: [mac(1)], created: Timestamp(milliseconds: 0))
    adjust(&node)
    let machine = BootPolicy.Machine(
      mac: mac(1), speaker: speaker, architectures: architectures, server: IPv4Address(10, 0, 0, 1), port: 9870)
    return BootPolicy.answer(
      machine, node: isNode ? EffectiveNode(node, defaults: NodeDefaults()) { _ in nil } : nil, vnfs: "debian-12",
      generation: nil)
  }

  @Test(
    "Each firmware gets the loader it can run, by the way it loads",
    arguments: [
      (ClientDescription.Speaker.pxeFirmware, [UInt16(0)], "undionly.kpxe" as String?),
      (.pxeFirmware, [], "undionly.kpxe"), (.pxeFirmware, [7], "snponly.efi"), (.pxeFirmware, [9], "snponly.efi"),
      (.pxeFirmware, [6, 7], "snponly.efi"), (.pxeFirmware, [6], nil), (.pxeFirmware, [11], nil),
      (.httpFirmware, [16], "http://10.0.0.1:9870/loader/snponly.efi"), (.httpFirmware, [19], nil),
      (.httpFirmware, [], nil),
      (.ipxe, [0], "http://10.0.0.1:9870/ipxe?mac=52:54:00:00:00:01"),
      (.ipxe, [7], "http://10.0.0.1:9870/ipxe?mac=52:54:00:00:00:01"), (.perseid, [], nil), (.other, [], nil),
    ])
  func table(speaker: ClientDescription.Speaker, architectures: [UInt16], file: String?) {
    for isNode in [true, false] {
      let answer = answer(speaker, architectures, isNode: isNode)
      #expect(answer.bootFile == file, "\(answer.reason)")
      #expect(!answer.reason.isEmpty && (answer.bootFile?.utf8.count ?? 0) <= 127)
      #expect(answer.hostName == (isNode ? "n0001" : nil))
    }
  }

  @Test("A node that is disabled or boots from its own disk gets nothing, and the reason says why")
  func nothing() {
    for speaker in [ClientDescription.Speaker.pxeFirmware, .httpFirmware, .ipxe] {
      let disabled = answer(speaker, [0]) { $0.settings.enabled = false }
      #expect(disabled.bootFile == nil && disabled.reason.contains("disabled"))
      let local = answer(speaker, [0]) { $0.settings.boot = .local }
      #expect(local.bootFile == nil && local.reason.contains("own disk"))
    }
  }

  @Test("What is set takes effect with the next packet, and fixed addresses are their node's alone")
  func live() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    let client = ClientDescription(
      hardwareAddress: mac(1), architectures: [0], speaker: .pxeFirmware, serverAddress: IPv4Address(10, 0, 0, 1))
    let policy = appliance.clientPolicy
    #expect(policy.boot(for: client).bootFile == "undionly.kpxe" && policy.reservation(for: client) == nil)
    _ = try await appliance.addNode(AddNode(mac: mac(1).description))
    _ = try await appliance.setNodes(["n0000"], key: "address", value: "10.0.0.77")
    #expect(policy.reservation(for: client) == IPv4Address(10, 0, 0, 77))
    #expect(policy.owner(of: IPv4Address(10, 0, 0, 77)) == mac(1) && policy.owner(of: IPv4Address(10, 0, 0, 78)) == nil)
    _ = try await appliance.setNodes(["n0000"], key: "enabled", value: "false")
    #expect(policy.boot(for: client).bootFile == nil)
    try await appliance.close()
  }
}

@Suite("A boot")
struct BootLedgerTests {
  private func exchange(_ received: String, _ speaker: ClientDescription.Speaker, _ card: MACAddress = mac(1))
    -> Exchange
  {
    Exchange(
      received: received, sent: received == "DISCOVER" ? "OFFER" : "ACK",
      client: ClientDescription(hardwareAddress: card, speaker: speaker, serverAddress: IPv4Address(10, 0, 0, 1)),
      address: IPv4Address(10, 0, 0, 21), bootFile: nil, reason: "because")
  }

  private func prepared() async throws -> Appliance {
    let appliance = try await makeAppliance(try TestDirectory())
    _ = try await appliance.registerCapsule("debian-12", digest: try makeCapsule("debian-12", in: appliance.content))
    return appliance
  }

  private func script(_ appliance: Appliance, _ query: [String: String] = ["mac": mac(1).description]) async -> String {
    text(await appliance.nodeService.respond(to: .get("/ipxe", query)))
  }

  @Test("Only a machine that asks for its script becomes a node, and its timeline begins with its first packet")
  func discovery() async throws {
    let appliance = try await prepared()
    for speaker in [ClientDescription.Speaker.other, .pxeFirmware] {
      appliance.observer.observed(exchange("DISCOVER", speaker))
      appliance.observer.observed(exchange("REQUEST", speaker))
    }
    appliance.observer.observed(
      TransferEvent(
        kind: .finished, name: "undionly.kpxe", client: IPv4Address(10, 0, 0, 21), bytes: 70000, seconds: 0.2,
        retransmissions: 0, blockSize: 1432, windowSize: 1))
    appliance.observer.observed(exchange("DISCOVER", .ipxe))
    #expect(try appliance.nodes([]).isEmpty)
    let script = await script(appliance)
    #expect(try appliance.nodes([]).map(\.name) == ["n0000"])
    let timeline = try await appliance.nodeTimeline("n0000")
    #expect(timeline.map(\.event) == ["discover", "request", "finished", "discover", "node", "script"])
    #expect(timeline.map(\.source) == [.dhcp, .dhcp, .tftp, .dhcp, .http, .http])
    let boot = try #require(appliance.registry.read { $0.lastBoot(of: "n0000") })
    #expect(timeline.allSatisfy { $0.boot == boot.id && $0.node == "n0000" })
    #expect(script.hasPrefix("#!ipxe\n"))
    for words in [
      "kernel http://10.0.0.1:9870/b/\(boot.id)/kernel perseid.server=10.0.0.1:9870 perseid.boot=\(boot.id) "
        + "BOOTIF=01-52-54-00-00-00-01 initrd=initramfs panic=30 console=tty0 console=ttyS0,115200 quiet "
        + "|| goto failed",
      "initrd --name initramfs http://10.0.0.1:9870/b/\(boot.id)/initramfs || goto failed",
      "chain --replace http://10.0.0.1:9870/ipxe?mac=52:54:00:00:00:01&attempt=1",
    ] { #expect(script.contains(words), "\(script)") }
    try await appliance.close()
  }

  @Test("How far a transfer has come is shown to those who watch, and not kept", .timeLimit(.minutes(5)))
  func progress() async throws {
    let appliance = try await prepared()
    appliance.observer.observed(exchange("DISCOVER", .pxeFirmware))
    appliance.observer.observed(exchange("REQUEST", .pxeFirmware))
    let events = appliance.timeline.watch()
    for (kind, bytes) in [(TransferEvent.Kind.started, 0), (.progress, 3_000_000), (.finished, 12_000_000)] {
      appliance.observer.observed(
        TransferEvent(
          kind: kind, name: "b/x/kernel", client: IPv4Address(10, 0, 0, 21), bytes: bytes, size: 12_000_000, seconds: 1,
          retransmissions: 0, blockSize: 1432, windowSize: 1))
    }
    var seen: [TimelineEvent] = []
    for await event in events where event.source == .tftp {
      seen.append(event)
      if event.event == "finished" { break }
    }
    #expect(seen.map(\.event) == ["started", "progress", "finished"])
    #expect(seen.dropFirst().first?.detail == "b/x/kernel, 3.0 MB of 12.0 MB (25 %) in 1.0 s")
    #expect(seen.allSatisfy { $0.mac == mac(1) && $0.boot == seen.first?.boot })
    _ = await script(appliance)
    let timeline = try await appliance.nodeTimeline("n0000")
    #expect(timeline.filter { $0.source == .tftp }.map(\.event) == ["started", "finished"])
    try await appliance.close()
  }

  @Test("Retries find the same boot; firmware that begins again opens another")
  func attempts() async throws {
    let appliance = try await prepared()
    func id() -> String? { appliance.ledger.attemptID(of: mac(1)) }
    appliance.observer.observed(exchange("DISCOVER", .pxeFirmware))
    let first = id()
    appliance.observer.observed(exchange("DISCOVER", .pxeFirmware))
    appliance.observer.observed(exchange("DISCOVER", .ipxe))
    _ = await script(appliance)
    _ = await script(appliance, ["mac": mac(1).description, "attempt": "1"])
    appliance.observer.observed(exchange("DISCOVER", .ipxe))
    _ = await script(appliance)
    #expect(first != nil && id() == first)
    #expect(appliance.registry.read { $0.boots.count } == 1)
    appliance.observer.observed(exchange("DISCOVER", .pxeFirmware))
    #expect(id() != first)
    // A card that is iPXE itself has no other firmware: after stage 1 was heard of, it begins again too.
    let second = id()
    _ = await script(appliance)
    appliance.ledger.came(mac(1), to: .stage1)
    appliance.observer.observed(exchange("DISCOVER", .ipxe))
    #expect(id() != second)
    try await appliance.close()
  }

  @Test("A wall clock that jumps ends no attempt of a machine, and lets none go on", arguments: [1e6, -1e6])
  func jumps(jump: Double) async throws {
    let directory = try TestDirectory()
    let appliance = try await makeAppliance(directory)
    let start = Moment(time: Timestamp(milliseconds: 1_790_000_000_000), uptime: 1000)
    func after(_ seconds: Double) -> Moment {
      Moment(time: start.time.adding(seconds: jump), uptime: start.uptime + seconds)
    }
    appliance.ledger.discovered(mac(1), by: .pxeFirmware, now: start)
    let first = appliance.ledger.attemptID(of: mac(1))
    appliance.ledger.discovered(mac(1), by: .ipxe, now: after(10))
    #expect(appliance.ledger.attemptID(of: mac(1)) == first)
    appliance.ledger.discovered(mac(1), by: .ipxe, now: Moment(time: start.time, uptime: start.uptime + 200))
    #expect(appliance.ledger.attemptID(of: mac(1)) != first)
    // After a restart only the wall clock is left: a boot whose time is far from it, on either side, is over.
    let boot = try await appliance.ledger.bind(.init(mac: mac(1), phase: .script), now: start).boot
    try await appliance.close()
    let again = try await makeAppliance(directory)
    let next = try await again.ledger.bind(.init(mac: mac(1), phase: .script), now: after(10)).boot
    #expect(next.id != boot.id)
    try await again.close()
  }

  @Test("How long a download took is told by the machine's own clock", arguments: [1e6, -1e6])
  func downloadSeconds(jump: Double) throws {
    let meter = BlobMeter()
    let digest = try #require(Digest(bytes: [UInt8](repeating: 1, count: 32)))
    let start = Moment(time: Timestamp(milliseconds: 1_790_000_000_000), uptime: 1000)
    #expect(meter.begins(digest, boot: "b", now: start))
    let end = Moment(time: start.time.adding(seconds: jump), uptime: 1004)
    let delivered = try #require(meter.delivered(10, of: digest, size: 10, boot: "b", now: end))
    #expect(delivered.seconds == 4)
  }

  @Test("A boot keeps the generation it began with; the next one gets what is assigned then")
  func generation() async throws {
    let appliance = try await prepared()
    _ = await script(appliance)
    let first = try #require(appliance.registry.read { $0.lastBoot(of: "n0000") })
    _ = await appliance.nodeService.respond(to: .get("/b/\(first.id)/kernel"))
    let digest = try makeCapsule("debian-12", kernel: "6.9", in: appliance.content)
    _ = try await appliance.registerCapsule("debian-12", digest: digest)
    let kernel = await appliance.nodeService.respond(to: .get("/b/\(first.id)/kernel"))
    #expect(text(kernel).contains("6.1.0-test"))
    _ = await script(appliance)
    let second = try #require(appliance.registry.read { $0.lastBoot(of: "n0000") })
    #expect(second.id != first.id && second.digest == digest && second.generation == 2)
    #expect(text(await appliance.nodeService.respond(to: .get("/b/\(first.id)/kernel"))).contains("6.1.0-test"))
    #expect(text(await appliance.nodeService.respond(to: .get("/b/\(second.id)/kernel"))).contains("6.9"))
    try await appliance.close()
  }

  @Test("The initramfs is the capsule's own and stage 1, one after the other, by HTTP and by TFTP alike")
  func initramfs() async throws {
    let appliance = try await prepared()
    _ = await script(appliance)
    let boot = try #require(appliance.registry.read { $0.lastBoot(of: "n0000") })
    let expected = "debian-12 6.1.0-test \(MediaType.initramfs)debian-12 6.1.0-test \(MediaType.stage1)"
    #expect(text(await appliance.nodeService.respond(to: .get("/b/\(boot.id)/initramfs"))) == expected)
    let answer = await appliance.bootContent.content(
      named: "\\B\\\(boot.id.uppercased())//initramfs\u{FFFD}", for: IPv4Address(10, 0, 0, 21),
      at: IPv4Address(10, 0, 0, 1))
    guard case .content(let content) = answer else {
      Issue.record("\(answer)")
      return
    }
    #expect(String(decoding: bytes(content), as: UTF8.self) == expected)
    for name in ["../../etc/passwd", "b/\(boot.id)/../kernel", "b/none/kernel", "", "/", "loader"] {
      if case .content = await appliance.bootContent.content(named: name, for: .any, at: .any) {
        Issue.record("\(name)")
      }
    }
    try await appliance.close()
  }

  @Test("A machine whose capsule is not there is told so on its console, and boots as soon as it is there")
  func waiting() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    let waiting = await script(appliance)
    #expect(waiting.contains("echo Perseid: capsule debian-12 of n0000 is not there"))
    #expect(waiting.contains("sleep 10") && waiting.contains("attempt=1"))
    let before = appliance.registry.read { $0.lastBoot(of: "n0000") }
    _ = try await appliance.registerCapsule("debian-12", digest: try makeCapsule("debian-12", in: appliance.content))
    let next = await script(appliance, ["mac": mac(1).description, "attempt": "1"])
    #expect(next.contains("/b/\(before?.id ?? "?")/kernel"))
    try await appliance.close()
  }

  @Test("A disabled machine and one that boots from its own disk are sent on to their next boot device")
  func leaving() async throws {
    let appliance = try await prepared()
    _ = try await appliance.addNode(AddNode(mac: mac(1).description))
    for (key, value, words) in [("enabled", "false", "is disabled"), ("boot", "local", "own disk")] {
      _ = try await appliance.setNodes(["n0000"], key: key, value: value)
      let script = await script(appliance)
      #expect(script.contains(words) && script.contains("exit 1") && !script.contains("kernel "))
      _ = try await appliance.setNodes(["n0000"], key: key, value: "")
    }
    try await appliance.close()
  }

  @Test("After the appliance was killed and started again a boot under way still finds its files")
  func restart() async throws {
    let directory = try TestDirectory()
    let appliance = try await makeAppliance(directory)
    _ = try await appliance.registerCapsule("debian-12", digest: try makeCapsule("debian-12", in: appliance.content))
    _ = await script(appliance)
    let boot = try #require(appliance.registry.read { $0.lastBoot(of: "n0000") })
    try await appliance.close()
    let again = try await makeAppliance(directory)
    #expect(await again.nodeService.respond(to: .get("/b/\(boot.id)/kernel")).status == 200)
    #expect(await script(again).contains("/b/\(boot.id)/kernel"))
    try await again.close()
  }

  @Test("Requests that make no sense are refused in words")
  func nonsense() async throws {
    let appliance = try await prepared()
    let service = appliance.nodeService
    for (path, status) in [
      ("/", 404), ("/b/none/kernel", 404), ("/b/x/y", 404), ("/blobs/sha256/abc", 400), ("/loader/passwd", 404),
      ("/blobs/sha256/\(String(repeating: "0", count: 64))", 404), ("/v1/state", 405), ("/ipxe", 400),
    ] { #expect(await service.respond(to: .get(path)).status == status, "\(path)") }
    #expect(await service.respond(to: .get("/ipxe", ["mac": "ff:ff:ff:ff:ff:ff"])).status == 400)
    #expect(await service.respond(to: .get("/loader/undionly.kpxe")).status == 200)
    #expect(try appliance.nodes([]).isEmpty)
    try await appliance.close()
  }

  @Test("Missing loaders are named with the package they come in")
  func loaders() throws {
    let error = try #require(throws: ApplianceError.self) { try LoaderFiles(directory: "/nonexistent").check() }
    #expect(error.message.contains("undionly.kpxe") && error.message.contains("apt-get install ipxe"))
    for (method, packages) in [
      (BootMethod.grub, "apt-get install shim-signed grub-efi-amd64-signed"),
      (.pxelinux, "apt-get install pxelinux syslinux-common"),
    ] {
      let error = #expect(throws: ApplianceError.self) { try LoaderFiles(directory: "/nonexistent").check(method) }
      #expect(error?.message.contains(packages) == true)
    }
    guard case .refused(let reason) = LoaderFiles(directory: "/nonexistent").content("grubx64.efi") else {
      Issue.record("a file that is not there was given")
      return
    }
    #expect(reason.contains("grub-efi-amd64-signed"))
  }

  @Test("A node keeps its last boots; what is older is dropped with its events")
  func retention() async throws {
    let appliance = try await prepared()
    for _ in 0..<12 {
      appliance.observer.observed(exchange("DISCOVER", .pxeFirmware))
      _ = await script(appliance)
      try await appliance.timeline.flush()
    }
    let boots = appliance.registry.read { $0.boots(of: "n0000") }
    #expect(boots.count == Registry.bootLimit && appliance.registry.read { $0.boots.count } == Registry.bootLimit)
    for boot in boots { #expect(try await appliance.nodeTimeline("n0000", boot: boot.id).isEmpty == false) }
    try await appliance.close()
  }
}
