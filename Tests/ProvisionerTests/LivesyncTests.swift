import Capsule
import CapsuleFormat
import Foundation
import NetworkTypes
import StateProtocol
import Testing

@testable import Provisioner

@Suite("What running nodes take over of another generation", .timeLimit(.minutes(5)))
struct LivesyncTests {
  private let directory = try! TestDirectory()

  /// A node that runs the first of two generations, and what leads to the second.
  private struct Site {
    var appliance: Appliance
    var boot: Boot
    var first: CapsuleFormat.Digest
    var second: CapsuleFormat.Digest
    var blob: Descriptor

    var order: OrderLivesync {
      OrderLivesync(
        nodes: [], generation: 2,
        changes: [
          .init(from: first, blob: blob, hook: "/etc/perseid/hooks/livesync", hookSeconds: 60, note: "a note")
        ])
    }

    func ask(
      _ state: String = "ready", generation: CapsuleFormat.Digest? = nil, knows: [String]? = ["livesync"]
    ) async throws -> Plan {
      var facts = Facts(kernelRelease: "1", memoryBytes: 1 << 30, processors: 1, uptimeSeconds: 1)
      facts.generation = state == "init" ? nil : (generation ?? first).description
      facts.steps = knows
      let report = StateReport(
        state: state, boot: boot.id, hardwareAddresses: [mac(1)], address: IPv4Address(10, 0, 0, 21),
        facts: facts)
      let answer = await appliance.nodeService.respond(to: .post("/v1/state", try ProtocolJSON.encode(report)))
      #expect(answer.status == 200, "\(text(answer))")
      return try Plan.decode(bytes(answer.body))
    }

    func tell(_ outcome: StepEvent.Outcome, _ detail: String) async throws {
      let report = EventReport(
        state: "ready", boot: boot.id, hardwareAddresses: [mac(1)],
        events: [StepEvent(step: "livesync", outcome: outcome, detail: detail)])
      let answer = await appliance.nodeService.respond(to: .post("/v1/events", try ProtocolJSON.encode(report)))
      #expect(answer.status == 204)
    }

    /// Once what was told is in the registry.
    func view() async throws -> LivesyncView {
      _ = try await appliance.registry.store.commit([.put("test/x", text: "x")], expecting: nil)
      return try #require(try appliance.livesync("debian-12", nodes: []).first)
    }
  }

  private func site() async throws -> Site {
    let appliance = try await makeAppliance(directory)
    let first = try makeCapsule("debian-12", kernel: "1", in: appliance.content)
    _ = try await appliance.registerCapsule("debian-12", digest: first)
    let bound = try await appliance.ledger.bind(
      BootLedger.Request(mac: mac(1), address: IPv4Address(10, 0, 0, 21), phase: .script))
    let second = try makeCapsule("debian-12", kernel: "2", in: appliance.content)
    _ = try await appliance.registerCapsule("debian-12", digest: second)
    let blob = try appliance.content.write(Array("a change".utf8), mediaType: LivesyncChange.mediaType)
    return Site(appliance: appliance, boot: bound.boot, first: first, second: second, blob: blob)
  }

  @Test func `a node that runs gets it as its first step, and is of that generation once it has said that it is done`()
    async throws
  {
    let site = try await site()
    let appliance = site.appliance
    try directory.write("echo x\n", to: "state/nodescripts/ready/all/10-x")
    #expect(try await site.ask().steps.map(\.name) == ["10-x"])
    let ordered = try await appliance.orderLivesync("debian-12", site.order)
    #expect(ordered.map(\.state) == [.ordered] && ordered.first?.generation == 1 && ordered.first?.target == 2)
    #expect(try await site.ask("init").steps.allSatisfy { $0.kind != .livesync })
    let plan = try await site.ask()
    #expect(plan.steps.map(\.name) == ["livesync", "10-x"] && plan.environment["GENERATION"] == "2")
    let step = try #require(plan.steps.first)
    #expect(step.digest == site.blob.digest && step.length == site.blob.size && step.timeoutSeconds == 60)
    #expect(step.onFailure == .goOn && step.livesync?.generation == site.second && step.livesync?.number == 2)
    #expect(step.livesync?.hook == "/etc/perseid/hooks/livesync" && step.livesync?.note == "a note")
    // Again, until the node says how it went.
    #expect(try await site.ask().steps.first?.kind == .livesync)
    try await site.tell(.done, "3 written, 1 removed")
    let view = try await site.view()
    #expect(view.state == .done && view.detail == "3 written, 1 removed" && view.generation == 2)
    let after = try await site.ask(generation: site.second)
    #expect(after.steps.map(\.name) == ["10-x"] && after.environment["GENERATION"] == "2")
    let status = try #require(try appliance.nodeStatus([]).first)
    #expect(status.generation == 1 && status.synchronised == 2)
    #expect(try appliance.statusTable([]).rows.first?.contains("debian-12:2") == true)
    try await appliance.close()
  }

  @Test func `an order outlives a restart, and its blob and both generations stay as long as it is needed`()
    async throws
  {
    var site = try await site()
    _ = try await site.ask()
    _ = try await site.appliance.orderLivesync("debian-12", site.order)
    try await site.appliance.close()
    site.appliance = try await makeAppliance(directory)
    _ = try await site.appliance.collect()
    for digest in [site.blob.digest, site.first, site.second] { #expect(site.appliance.content.contains(digest)) }
    #expect(try await site.ask().steps.first?.kind == .livesync)
    try await site.tell(.failed, "no space")
    #expect(try await site.view().state == .failed)
    #expect(try await site.ask().steps.isEmpty)
    _ = try await site.appliance.collect()
    #expect(!site.appliance.content.contains(site.blob.digest))
    await #expect(throws: ApplianceError.self) { try await site.appliance.orderLivesync("debian-12", site.order) }
    #expect(site.appliance.registry.read { $0.livesyncs.count } == 1)
    _ = try await site.appliance.setNodes(["n0000"], key: "name", value: "renamed")
    #expect(site.appliance.registry.read { $0.livesyncs.keys.sorted() } == ["renamed"])
    _ = try await site.appliance.deleteNodes(["renamed"])
    #expect(site.appliance.registry.read { $0.livesyncs.isEmpty })
    try await site.appliance.close()
  }

  @Test func `a node whose client is too old, or that has booted something else, is told of`() async throws {
    let site = try await site()
    let appliance = site.appliance
    _ = try await site.ask()
    _ = try await appliance.orderLivesync("debian-12", site.order)
    #expect(try await site.ask(knows: nil).steps.isEmpty)
    #expect(try await site.view().detail?.contains("too old") == true)
    _ = try await appliance.orderLivesync("debian-12", site.order)
    #expect(try await site.view().state == .ordered)
    let third = try makeCapsule("debian-12", kernel: "3", in: appliance.content)
    #expect(try await site.ask(generation: third).steps.isEmpty)
    #expect(try await site.view().detail?.contains("run perseid vnfs livesync debian-12 n0000 again") == true)
    _ = try await site.ask()
    _ = try await appliance.orderLivesync("debian-12", site.order)
    #expect(try await site.ask(generation: site.second).steps.isEmpty)
    let view = try await site.view()
    #expect(view.state == .done && view.detail?.contains("has booted generation 2") == true)
    try await appliance.close()
  }

  @Test func `nodes that do not run the capsule, or another generation than there is a change for, are left alone`()
    async throws
  {
    let site = try await site()
    #expect(try await site.appliance.orderLivesync("debian-12", site.order).isEmpty)
    _ = try await site.ask("init")
    #expect(try await site.appliance.orderLivesync("debian-12", site.order).isEmpty)
    _ = try await site.ask(generation: site.second)
    #expect(try await site.appliance.orderLivesync("debian-12", site.order).map(\.state) == [.running])
    #expect(throws: ApplianceError.self) { try site.appliance.livesync("other", nodes: []) }
    await #expect(throws: ApplianceError.self) { try await site.appliance.orderLivesync("other", site.order) }
    try await site.appliance.close()
  }
}
