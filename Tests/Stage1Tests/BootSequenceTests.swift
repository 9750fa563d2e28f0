import CapsuleFormat
import DHCPClient
import Glibc
import NetworkTypes
import Stage1
import StateClient
import StateProtocol
import TestSupport
import Testing

@Suite("The boot sequence")
struct BootSequenceTests {
  /// What was done, and a clock that goes when somebody waits.
  final class Record: Sendable {
    let done = Monitor([String]())
    let time = Monitor(0.0)
    func note(_ text: String) { done.update { $0.append(text) } }
    var notes: [String] { done.update { $0 } }
  }

  /// A boot whose console is a file.
  func withBoot(startedAt: Double = 0, _ body: (Boot, () -> String) throws -> Void) throws {
    let path = "/tmp/perseid-console-\(getpid())-\(UInt64.random(in: 0 ... .max))"
    let descriptor = open(path, O_RDWR | O_CREAT | O_APPEND, 0o600)
    defer {
      close(descriptor)
      unlink(path)
    }
    try body(Boot(console: Console(descriptors: [descriptor]), startedAt: startedAt), { SmallFile.text(path) ?? "" })
  }

  @Test("turns to the appliance that a plan has named when the one of the kernel's command line dies")
  func namedAppliance() throws {
    func plan(others: [NodeRecord.Server]?) throws -> [UInt8] {
      let body = try ProtocolJSON.encode(
        Plan(state: "init", boot: nil, nodeName: "n0001", environment: [:], steps: [], otherServers: others))
      return answer(200, body, fields: ["Content-Digest: " + ContentDigest.fieldValue(Digest.ofContent(body))])
    }
    let good = try plan(others: nil)
    let second = try ScriptedServer { _, _ in .send(good) }
    let naming = try plan(others: [.init(address: second.endpoint.address, port: second.endpoint.port)])
    let first = try ScriptedServer { _, number in number == 0 ? .send(naming) : .sendAndClose([]) }
    let report = try #require(BootStep.all.first { $0.name == "report" })
    // A boot keeps its connection, which a server waits for: it is gone before they are.
    try first.serving {
      try second.serving {
        try withBoot { boot, console in
          boot.commandLine = KernelCommandLine("perseid.server=\(first.endpoint)")
          try report.run(boot)
          #expect(boot.servers == [first.endpoint, second.endpoint])
          // The step fails, is tried again, and finds the other.
          #expect(throws: (any Error).self) { try report.run(boot) }
          #expect(boot.plan == nil && boot.server == second.endpoint)
          try report.run(boot)
          #expect(boot.plan?.nodeName == "n0001")
          #expect(console().contains("the next appliance to be asked is \(second.endpoint)"))
        }
      }
    }
    #expect(second.requests.count == 1)
  }

  @Test("keeps the lease renewed while the appliance has it wait, and reports with the new one")
  func keepsLease() throws {
    func lease(_ host: UInt8) -> AcquiredLease {
      AcquiredLease(
        LeaseRecord(
          address: IPv4Address(10, 0, 0, host), prefixLength: 24, router: nil,
          serverIdentifier: IPv4Address(10, 0, 0, 1), seconds: 60, obtainedAt: Clock.bootTime - 30))
    }
    let record = Record()
    let actions = LeaseKeeper.Actions(
      renew: { old in
        record.note("renew \(old.address)")
        return lease(UInt8(truncatingIfNeeded: old.address.rawValue) + 1)
      }, acquire: { _ in lease(9) }, isHeld: { _ in true }, install: { _ in }, save: { _ in })
    func reaction(_ plan: Plan) throws -> ScriptedServer.Reaction {
      let body = try ProtocolJSON.encode(plan)
      return .send(answer(200, body, fields: ["Content-Digest: " + ContentDigest.fieldValue(Digest.ofContent(body))]))
    }
    var held = Plan(state: "init", boot: nil, nodeName: "n0001", environment: [:], steps: [])
    let go = try reaction(held)
    held.wait = .init(seconds: 0, reason: "held until it is assigned")
    let wait = try reaction(held)
    let server = try ScriptedServer { _, number in number < 2 ? wait : go }
    let report = try #require(BootStep.all.first { $0.name == "report" })
    try server.serving {
      try withBoot { boot, _ in
        boot.commandLine = KernelCommandLine("perseid.server=\(server.endpoint)")
        // Each is due at once.
        boot.hold(lease(5), actions: actions)
        try report.run(boot)
        #expect(boot.plan?.nodeName == "n0001")
      }
    }
    #expect(server.requests.count == 3)
    #expect(record.notes.starts(with: ["renew 10.0.0.5", "renew 10.0.0.6"]))
    #expect(server.requests.first?.contains("\"address\":\"10.0.0.6\"") == true)
    #expect(server.requests.last?.contains("\"address\":\"10.0.0.\(5 + record.notes.count)\"") == true)
  }

  @Test("lists the steps in the order in which they are done")
  func lists() {
    let lines = BootStep.listing().split(separator: "\n")
    #expect(
      BootStep.all.map(\.name) == [
        "mounts", "modules", "link", "address", "report", "devices", "plan", "hand-over", "switch-root",
      ])
    #expect(lines.count == 9)
    #expect(lines[2].hasPrefix("3. link         "))
    for step in BootStep.all {
      if let earlier = step.retryFrom { #expect(BootStep.all.contains { $0.name == earlier }) }
    }
  }

  @Test("restarts the machine at once where the appliance says so")
  func restartsWhenTold() throws {
    let record = Record()
    let steps = [
      BootStep("report", "told") { _ in throw RestartNeeded(reason: "another capsule") },
      BootStep("never", "not reached") { _ in record.note("never") },
    ]
    try withBoot { boot, _ in
      var sequence = BootSequence(
        steps, boot: boot, restart: { record.note("restart") }, sleep: { _ in record.note("sleep") }, now: { 0 })
      sequence.run()
      #expect(record.notes == ["restart"])
    }
  }

  @Test("goes back to the step that a failure names, and says what failed and what comes next")
  func retries() throws {
    let record = Record()
    let steps = [
      BootStep("one", "first") { _ in record.note("one") },
      BootStep("two", "second") { _ in record.note("two") },
      BootStep("three", "third", retryFrom: "two") { _ in
        record.note("three")
        if record.notes.count < 6 { throw StepFailure(what: "the cable is out", canRetry: true) }
      },
    ]
    try withBoot { boot, console in
      var sequence = BootSequence(
        steps, boot: boot, restart: { record.note("restart") }, sleep: { _ in }, now: { 0 })
      sequence.run()
      #expect(record.notes == ["one", "two", "three", "two", "three", "two", "three"])
      #expect(console().contains("perseid: three failed: the cable is out\r\nperseid:   tried again in "))
    }
  }

  @Test("restarts the machine when failure has lasted too long, and not before")
  func restarts() throws {
    let record = Record()
    let steps = [BootStep("one", "first") { _ in throw StepFailure(what: "no", canRetry: true) }]
    try withBoot { boot, console in
      boot.commandLine = KernelCommandLine("perseid.restart=100")
      var sequence = BootSequence(
        steps, boot: boot, restart: { record.note("restart at \(record.time.update { $0 })") },
        sleep: { wait in record.time.update { $0 += wait } }, now: { record.time.update { $0 } })
      sequence.run()
      #expect(record.notes.count == 1)
      #expect(record.time.update { $0 } > 60)
      #expect(record.time.update { $0 } <= 100)
      #expect(console().contains("the machine restarts now"))
    }
  }

  @Test("counts failure from the first one: a step that waited for long, as for its turn, may fail once")
  func failureAfterWaiting() throws {
    let record = Record()
    let steps = [
      BootStep("report", "waits") { _ in
        record.note("report")
        record.time.update { $0 += record.notes.count == 1 ? 10_000 : 0 }
        if record.notes.count == 1 { throw StepFailure(what: "no answer", canRetry: true) }
      }
    ]
    try withBoot { boot, _ in
      var sequence = BootSequence(
        steps, boot: boot, restart: { record.note("restart") }, sleep: { wait in record.time.update { $0 += wait } },
        now: { record.time.update { $0 } })
      sequence.run()
      #expect(record.notes == ["report", "report"])
    }
  }

  @Test("restarts the machine after a step that cannot be tried again, and says so")
  func noWayBack() throws {
    let record = Record()
    let steps = [
      BootStep("switch-root", "gone", retryFrom: "switch-root") { _ in throw NoWayBack(reason: "no init") },
      BootStep("never", "not reached") { _ in record.note("never") },
    ]
    try withBoot { boot, console in
      var sequence = BootSequence(
        steps, boot: boot, restart: { record.note("restart") },
        sleep: { record.note((15...30).contains($0) ? "sleep" : "sleep of \($0) s") }, now: { 0 })
      sequence.run()
      #expect(record.notes == ["sleep", "restart"])
      #expect(console().contains("perseid: switch-root failed: no init\r\nperseid:   the machine restarts in "))
    }
  }

  @Test("has an eye on what may hang in the kernel, and on nothing else", arguments: ["", "perseid.restart=0"])
  func watchesForHangs(line: String) throws {
    let record = Record()
    let steps = [
      BootStep("one", "may hang", hangSeconds: 300) { _ in record.note("one") },
      BootStep("two", "has bounds of its own") { _ in record.note("two") },
    ]
    try withBoot { boot, _ in
      boot.commandLine = KernelCommandLine(line)
      var sequence = BootSequence(
        steps, boot: boot, restart: {}, sleep: { _ in }, now: { 0 }, watch: { record.note("\($0)") })
      sequence.run()
      #expect(record.notes == [line.isEmpty ? "300.0" : "0.0", "one", "0.0", "0.0", "two", "0.0"])
    }
  }

  @Test("says once how long it took until the appliance had the state, and the kernel before it")
  func tellsStart() throws {
    try withBoot(startedAt: 2.5) { boot, console in
      boot.tellStart(now: 3.125)
      boot.tellStart(now: 9)
      let words = "perseid: state init was told 625 ms after stage 1 began, and the kernel 2500 ms before that"
      // What is read of the file is without the line's end.
      #expect(console() == words + "\r")
    }
  }

  @Test("has a shell on every console that somebody can type at")
  func shellTerminals() {
    #expect(Shell.terminals("tty0 ttyS0\n") == ["/dev/tty1", "/dev/ttyS0"])
    #expect(Shell.terminals("hvc0") == ["/dev/hvc0"])
  }

  @Test("shows a bar with figures")
  func showsBar() {
    #expect(
      Console.bar("root", done: 50 << 20, total: 100 << 20, bytesPerSecond: 20 * 1_048_576)
        == "perseid: root [###############...............]  50% of 100 MiB, 20 MiB/s   ")
    #expect(Console.bar("root", done: 5, total: 0, bytesPerSecond: 0).contains("  0%"))
  }

  @Test("takes the card that booted, and every card where none is named")
  func choosesCard() {
    let cards = [
      NetworkCard(name: "eth0", hardwareAddress: MACAddress("52:54:00:00:00:01")!),
      NetworkCard(name: "eth1", hardwareAddress: MACAddress("52:54:00:00:00:02")!),
    ]
    #expect(CardChoice.candidates(wanted: MACAddress("52:54:00:00:00:02"), among: cards).map(\.name) == ["eth1"])
    #expect(CardChoice.candidates(wanted: MACAddress("52:54:00:00:00:03"), among: cards).isEmpty)
    #expect(CardChoice.candidates(wanted: nil, among: cards).count == 2)
  }

  @Test("says in figures where memory cannot hold the root")
  func complainsOfMemory() {
    let need = MemoryNeed(rootBytes: 300 << 20, entries: 10_000)
    #expect(need.complaint(available: 1 << 30) == nil)
    let text = need.complaint(available: 256 << 20)
    #expect(text?.contains("needs 329 MiB") == true && text?.contains("256 MiB are free") == true)
    #expect(MemoryNeed.available("MemTotal: 9 kB\nMemAvailable:    1024 kB\n") == 1 << 20)
    #expect(need.limit(total: 0) > need.bytes)
  }

  @Test("says in figures where memory cannot hold the root's image, and names the mode that fits where there is one")
  func complainsOfMemoryForImage() {
    let tree = MemoryNeed(rootBytes: 300 << 20, entries: 10_000)
    let image = MemoryNeed(imageBytes: 160 << 20)
    #expect(image.complaint(available: 256 << 20) == nil)
    #expect(
      image.complaint(available: 255 << 20)
        == "the root's image needs 160 MiB of memory and 96 MiB beside it; 255 MiB are free. Add memory, or assign a "
        + "smaller capsule")
    let text = tree.complaint(available: 256 << 20, other: ("overlay", image))
    #expect(text?.contains("or set root mode overlay for this node, which needs 160 MiB") == true)
    #expect(tree.complaint(available: 255 << 20, other: ("overlay", image))?.contains("overlay") == false)
  }
}
