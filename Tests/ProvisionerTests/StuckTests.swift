import CapsuleFormat
import ConfigurationFile
import DHCP
import Foundation
import NetworkTypes
import StateProtocol
import Testing

@testable import Provisioner

@Suite("Nodes that do not go on")
struct StuckTests {
  private let start = Moment(time: Timestamp(milliseconds: 1_790_000_000_000), uptime: 1000)

  private func prepared(
    _ directory: TestDirectory, _ adjust: @escaping (inout Configuration) -> Void = { _ in }
  ) async throws -> (Appliance, StateService, Boot) {
    let appliance = try await makeAppliance(directory, adjust)
    _ = try await appliance.registerCapsule("debian-12", digest: try makeCapsule("debian-12", in: appliance.content))
    let bound = try await appliance.ledger.bind(BootLedger.Request(mac: mac(1), phase: .script), now: start)
    return (appliance, states(of: appliance), bound.boot)
  }

  private func states(of appliance: Appliance) -> StateService {
    let maker = PlanMaker(
      tree: appliance.nodescripts, modules: appliance.moduleStore, files: appliance.planFiles,
      rendered: RenderedContent(), catalog: appliance.catalog,
      settings: appliance.configuration.states)
    return StateService(
      registry: appliance.registry, ledger: appliance.ledger, board: appliance.board, maker: maker)
  }

  private let origin = StateService.Origin(client: IPv4Address(10, 0, 0, 21), server: IPv4Address(10, 0, 0, 1))

  private func say(_ state: String, _ boot: Boot, _ states: StateService, at moment: Moment) async throws -> Plan {
    let report = try StateReport.decode(try report(state, boot: boot.id, mac(1)))
    return try await states.plan(for: report, from: origin, now: moment)
  }

  private func step(
    _ name: String, _ outcome: StepEvent.Outcome, _ state: String, _ boot: Boot, _ states: StateService,
    at moment: Moment
  ) throws {
    let events = EventReport(
      state: state, boot: boot.id, hardwareAddresses: [mac(1)], events: [StepEvent(step: name, outcome: outcome)])
    try states.record(events, from: origin, now: moment)
  }

  private func events(_ appliance: Appliance) async throws -> [String] {
    try await appliance.nodeTimeline("n0000").map(\.event).filter { ["stuck", "goes on", "silent"].contains($0) }
  }

  @Test("A node that is past its state's deadline is shown stuck in the step under way, until it goes on")
  func deadline() async throws {
    let (appliance, states, boot) = try await prepared(try TestDirectory()) {
      $0.states.named["init"] = Configuration.State(deadlineSeconds: 100)
    }
    _ = try await say("init", boot, states, at: start)
    try step("20-disk", .started, "init", boot, states, at: start.adding(seconds: 5))
    appliance.noticeDelays(now: start.adding(seconds: 99))
    #expect(try appliance.nodeStatus([]).first?.condition == .good)
    appliance.noticeDelays(now: start.adding(seconds: 101))
    appliance.noticeDelays(now: start.adding(seconds: 106))
    let status = try #require(try appliance.nodeStatus([]).first)
    #expect(status.condition == .stuck && status.state == "init" && status.step == "20-disk")
    #expect(status.detail?.hasPrefix("stuck in init, step 20-disk for ") == true)
    let trouble = try appliance.nodeSummary().troubles
    #expect(trouble.map(\.condition) == [.stuck] && trouble[0].step == "20-disk" && trouble[0].nodes == ["n0000"])
    let stuck = try await appliance.nodeTimeline("n0000").first { $0.event == "stuck" }
    #expect(stuck?.detail.contains("step 20-disk for 101 s") == true && stuck?.detail.contains("100 s") == true)
    _ = try await say("ready", boot, states, at: start.adding(seconds: 200))
    #expect(try appliance.nodeStatus([]).first?.condition == .good)
    #expect(try await events(appliance) == ["stuck"])
    try await appliance.close()
  }

  @Test("In a state that a node stays in, the deadline is that of each step")
  func restingState() async throws {
    let (appliance, states, boot) = try await prepared(try TestDirectory()) {
      $0.states.named["ready"] = Configuration.State(deadlineSeconds: 100)
      $0.states.silenceSeconds = 1_000_000
    }
    _ = try await say("ready", boot, states, at: start)
    appliance.noticeDelays(now: start.adding(seconds: 5000))
    #expect(try await events(appliance) == [])
    try step("30-users", .started, "ready", boot, states, at: start.adding(seconds: 5000))
    appliance.noticeDelays(now: start.adding(seconds: 5101))
    #expect(try appliance.nodeStatus([]).first?.condition == .stuck)
    try step("30-users", .done, "ready", boot, states, at: start.adding(seconds: 5110))
    appliance.noticeDelays(now: start.adding(seconds: 5111))
    #expect(try appliance.nodeStatus([]).first?.condition == .good)
    #expect(try await events(appliance) == ["stuck", "goes on"])
    try await appliance.close()
  }

  @Test("That a node is stuck survives a restart of the appliance; its other times begin again then")
  func restart() async throws {
    let directory = try TestDirectory()
    let (appliance, states, boot) = try await prepared(directory)
    _ = try await say("init", boot, states, at: start)
    try step("20-disk", .started, "init", boot, states, at: start)
    appliance.noticeDelays(now: start.adding(seconds: 2000))
    try await appliance.close()
    let again = try await makeAppliance(directory)
    again.noticeDelays(now: .now)
    #expect(try again.nodeStatus([]).first?.condition == .stuck)
    #expect(try again.nodeSummary().troubles.first?.step == "20-disk")
    // It is heard of again and has not moved: it is stuck since it was.
    let now = Moment.now
    try self.step("20-disk", .progress, "init", boot, self.states(of: again), at: now)
    let later = Moment(time: start.time.adding(seconds: 3 * 3600), uptime: now.uptime + 10)
    let view = again.status(try again.select([])[0], later)
    #expect(view.condition == .stuck && view.detail == "stuck in init, step 20-disk for 3 h")
    // Of the next step this appliance has seen the begin.
    try self.step("30-users", .started, "init", boot, self.states(of: again), at: now.adding(seconds: 20))
    let last = Moment(time: start.time.adding(seconds: 3 * 3600), uptime: now.uptime + 60)
    #expect(again.status(try again.select([])[0], last).detail == "stuck in init, step 30-users for 40 s")
    try await again.close()
  }

  @Test("A wall clock that jumps, forwards or backwards, makes no node stuck or silent, and keeps none from it")
  func jumps() async throws {
    let (appliance, states, boot) = try await prepared(try TestDirectory())
    _ = try await say("ready", boot, states, at: start)
    for jump in [1_000_000.0, -1_000_000.0] {
      let moment = Moment(time: start.time.adding(seconds: jump), uptime: start.uptime + 10)
      appliance.noticeDelays(now: moment)
      #expect(try await events(appliance) == [])
    }
    let back = Moment(time: start.time.adding(seconds: -1_000_000), uptime: start.uptime + 181)
    appliance.noticeDelays(now: back)
    #expect(try await events(appliance) == ["silent"])
    try await appliance.board.flush(now: back.time)
    try await appliance.close()
  }

  @Test("A node that waits is shown with the reason, said once, and is not stuck")
  func waiting() async throws {
    let (appliance, states, boot) = try await prepared(try TestDirectory())
    _ = try await appliance.setNodes(["n0000"], key: "enabled", value: "false")
    for second in 0..<3 { _ = try await say("init", boot, states, at: start.adding(seconds: Double(second))) }
    appliance.noticeDelays(now: start.adding(seconds: 5000))
    let status = try #require(try appliance.nodeStatus([]).first)
    #expect(status.condition == .waiting && status.detail?.contains("enabled true n0000") == true)
    let timeline = try await appliance.nodeTimeline("n0000").map(\.event)
    #expect(timeline.filter { $0 == "wait" }.count == 1 && timeline.filter { $0 == "init" }.count == 1)
    _ = try await appliance.setNodes(["n0000"], key: "enabled", value: "true")
    let plan = try await say("init", boot, states, at: start.adding(seconds: 5001))
    #expect(plan.wait == nil)
    #expect(try appliance.nodeStatus([]).first?.condition == .good)
    try await appliance.close()
  }

  @Test("A machine that loads its kernel and never reports is stuck, with how far it came")
  func neverReports() async throws {
    let (appliance, _, boot) = try await prepared(try TestDirectory())
    appliance.ledger.came(boot.mac, to: .loading)
    let late = appliance.status(try appliance.select([])[0], start.adding(seconds: 901))
    #expect(late.state == "booting" && late.condition == .stuck && late.step == "kernel and initramfs")
    #expect(late.detail?.contains("no report for 15 min") == true)
    let early = appliance.status(try appliance.select([])[0], start.adding(seconds: 899))
    #expect(early.state == "booting" && early.condition == .good && early.step == nil)
    try await appliance.close()
  }

  @Test("A wall clock that jumps hides no boot that never reported, and makes none late", arguments: [1e6, -1e6])
  func jumpsInBoot(jump: Double) async throws {
    let directory = try TestDirectory()
    let (appliance, states, boot) = try await prepared(directory)
    func status(after seconds: Double) throws -> NodeStatusView {
      let moment = Moment(time: start.time.adding(seconds: jump), uptime: start.uptime + seconds)
      return appliance.status(try appliance.select([])[0], moment)
    }
    #expect(try status(after: 10).condition == .good && status(after: 10).state == "booting")
    #expect(try status(after: 901).condition == .stuck)
    // It reports; then it boots again, and the clock has jumped in between.
    _ = try await say("ready", boot, states, at: start.adding(seconds: 910))
    #expect(try status(after: 911).state == "ready")
    let moment = Moment(time: start.time.adding(seconds: jump), uptime: start.uptime + 2000)
    appliance.ledger.discovered(mac(1), by: .pxeFirmware, now: moment)
    let next = try await appliance.ledger.bind(BootLedger.Request(mac: mac(1), phase: .script), now: moment).boot
    #expect(next.id != boot.id)
    #expect(try status(after: 2001).state == "booting" && status(after: 2001).condition == .good)
    #expect(try status(after: 2901).detail?.contains("stuck after script: no report for 15 min") == true)
    // Its firmware begins anew: that boot is still the last that is known of the machine.
    appliance.ledger.discovered(mac(1), by: .pxeFirmware, now: moment.adding(seconds: 100))
    #expect(try status(after: 2901).detail?.contains("stuck after firmware: no report for 15 min") == true)
    _ = try await say("init", next, states, at: moment.adding(seconds: 950))
    #expect(try status(after: 2951).state == "init")
    try await appliance.close()
    // An appliance that is started anew gives it its time again.
    let again = try await makeAppliance(directory)
    let now = Moment.now
    let view = again.status(try again.select([])[0], Moment(time: now.time.adding(seconds: jump), uptime: now.uptime))
    #expect(view.state == "init" && view.condition == .good)
    try await again.close()
  }

  @Test("A boot that never reported has its time again after a restart of the appliance, whatever the wall clock says")
  func restartInBoot() async throws {
    let directory = try TestDirectory()
    try await prepared(directory).0.close()
    let again = try await makeAppliance(directory)
    let now = Moment.now
    func status(after seconds: Double) throws -> NodeStatusView {
      again.status(
        try again.select([])[0], Moment(time: start.time.adding(seconds: 1e7), uptime: now.uptime + seconds))
    }
    #expect(try status(after: 10).condition == .good && status(after: 10).state == "booting")
    #expect(try status(after: 901).condition == .stuck)
    try await again.close()
  }

  @Test("How long a node has been stuck is told by the machine's own clock")
  func stuckFor() async throws {
    let (appliance, states, boot) = try await prepared(try TestDirectory())
    _ = try await say("init", boot, states, at: start)
    appliance.noticeDelays(now: start.adding(seconds: 1000))
    let moment = Moment(time: start.time.adding(seconds: 1e6), uptime: start.uptime + 1200)
    #expect(appliance.status(try appliance.select([])[0], moment).detail == "stuck in init for 20 min")
    try await appliance.close()
  }

  @Test("A site's states have their next state, interval and deadline from the configuration")
  func chain() async throws {
    let (appliance, states, boot) = try await prepared(try TestDirectory()) {
      $0.states.named["init"] = Configuration.State(next: "burn-in")
      $0.states.named["burn-in"] = Configuration.State(next: "ready", intervalSeconds: 30)
      $0.states.named["ready"] = Configuration.State(intervalSeconds: 7)
    }
    let first = try await say("init", boot, states, at: start)
    #expect(first.nextState == "burn-in" && first.nextSeconds == nil && first.intervalSeconds == 30)
    let second = try await say("burn-in", boot, states, at: start)
    #expect(second.nextState == "ready" && second.nextSeconds == 30)
    let third = try await say("ready", boot, states, at: start)
    #expect(third.nextState == nil && third.intervalSeconds == 7)
    try await appliance.close()
  }

  @Test(
    "States that cannot be are refused with key and line",
    arguments: [
      ("{ a: { next: b }, b: { next: a } }", "states.a", "a leads to b leads to a"),
      ("{ a: { next: init } }", "states.a.next", "only as it boots"),
      ("{ a: { next: B } }", "states.a.next", "lower-case letters"),
      ("{ a: { deadline: 5 } }", "states.a.deadline", "deadlineSeconds, next, intervalSeconds"),
      ("{ A: { next: b } }", "states.A", "no such key"),
      ("{ init: { intervalSeconds: 5 } }", "states.init.intervalSeconds", "nothing is repeated"),
      ("{ a: 5 }", "states.a", "found '5'"),
    ])
  func refused(text: String, key: String, words: String) throws {
    let error = try #require(throws: ConfigurationError.self) {
      _ = try Configuration.parse(yaml: "network: { interface: lo }\nstates: \(text)\n", file: "x.yaml")
    }
    #expect(error.key == key && error.line == 2 && error.message.contains(words), "\(error)")
  }

  @Test("States that lead in a circle are allowed where one of them pauses")
  func circle() throws {
    let configuration = try Configuration.parse(
      yaml: "network: { interface: lo }\nstates: { a: { next: b }, b: { next: a, intervalSeconds: 60 } }\n",
      file: "x.yaml")
    #expect(configuration.states.next(after: "a") == "b" && configuration.states.pause(in: "b") == 60)
  }

  @Test("What a machine says of itself is kept with its node, bounded, and survives a restart")
  func facts() async throws {
    let directory = try TestDirectory()
    let (appliance, states, boot) = try await prepared(directory)
    let long = String(repeating: "x", count: 1000)
    let facts = Facts(
      kernelRelease: "6.1\u{1B}[2J", memoryBytes: 1 << 30, processors: 4, uptimeSeconds: 3, vendor: "ACME",
      product: long, serial: "S1", disks: Array(repeating: Facts.Disk(name: "sda", bytes: 1 << 40), count: 100),
      links: [Facts.Link(name: "eth0", mac: mac(1), speed: 25000, driver: "mlx5_core")])
    let message = StateReport(
      state: "init", boot: boot.id, hardwareAddresses: [mac(1)], address: nil, facts: facts)
    _ = try await states.plan(for: message, from: origin, now: start)
    try await appliance.close()
    let again = try await makeAppliance(directory)
    let kept = try #require(try again.nodes(["n0000"]).first?.facts)
    #expect(kept.vendor == "ACME" && kept.product?.count == Facts.textLimit && kept.disks?.count == Facts.countLimit)
    #expect(kept.kernelRelease == "6.1 [2J" && kept.links == facts.links)
    _ = try await again.deleteNodes(["n0000"])
    _ = try await again.addNode(AddNode(mac: mac(1).description, name: "n0000"))
    #expect(try again.nodes(["n0000"]).first?.facts == nil)
    try await again.close()
  }
}
