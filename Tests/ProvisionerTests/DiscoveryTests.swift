import CapsuleFormat
import DHCP
import Foundation
import Logging
import NetworkTypes
import StateProtocol
import Testing

@testable import Provisioner

@Suite("Machines that nobody has added")
struct DiscoveryTests {
  private func prepared(_ discovery: Configuration.Discovery) async throws -> Appliance {
    let appliance = try await makeAppliance(try TestDirectory()) { $0.discovery = discovery }
    for name in ["debian-12", "rocky-9"] {
      _ = try await appliance.registerCapsule(name, digest: try makeCapsule(name, in: appliance.content))
    }
    return appliance
  }

  private func script(_ appliance: Appliance, _ card: MACAddress) async -> String {
    text(await appliance.nodeService.respond(to: .get("/ipxe", ["mac": card.description])))
  }

  private func initPlan(_ appliance: Appliance, _ card: MACAddress) async throws -> Plan {
    let boot = appliance.registry.read { view in view.node(with: card).flatMap { view.lastBoot(of: $0.name)?.id } }
    let response = await appliance.nodeService.respond(to: .post("/v1/state", try report("init", boot: boot, card)))
    return try Plan.decode(bytes(response.body))
  }

  @Test("A machine that is held boots the default capsule's kernel, waits in stage 1, and says who it is")
  func held() async throws {
    let appliance = try await prepared(.hold)
    #expect(await script(appliance, mac(1)).contains("/kernel"))
    for _ in 0..<3 {
      let plan = try await initPlan(appliance, mac(1))
      #expect(plan.steps.isEmpty && plan.wait?.seconds == 3)
      #expect(plan.wait?.reason.contains("perseid node add 52:54:00:00:00:01 NAME") == true)
    }
    let node = try #require(try appliance.nodes([]).first)
    #expect(node.name == "held-525400000001" && node.held)
    let status = try #require(try appliance.nodeStatus([]).first)
    #expect(status.condition == .waiting && status.state == "init")
    #expect(try appliance.nodeSummary().troubles.first?.nodes == ["held-525400000001"])
    try await appliance.close()
  }

  @Test("It goes on the moment it is added, in the boot that it waits in, where that has the right kernel")
  func assigned() async throws {
    let appliance = try await prepared(.hold)
    _ = await script(appliance, mac(1))
    let boot = try await initPlan(appliance, mac(1)).boot
    let node = try await appliance.addNode(AddNode(mac: mac(1).description, name: "n0007", group: "gpu"))
    #expect(!node.held && node.name == "n0007" && node.groups == ["gpu"])
    #expect(try appliance.nodes([]).map(\.name) == ["n0007"])
    let plan = try await initPlan(appliance, mac(1))
    #expect(plan.nodeName == "n0007" && plan.boot == boot && plan.steps.map(\.name) == ["50-root"])
    #expect(plan.wait == nil && plan.restart == nil)
    let timeline = try await appliance.nodeTimeline("n0007").map(\.event)
    #expect(timeline.contains("wait") && timeline.contains("assigned"))
    try await appliance.close()
  }

  @Test("Without a name it gets the pattern's next one, and node set name assigns it as well")
  func named() async throws {
    let appliance = try await prepared(.hold)
    for number in 1...2 { _ = await script(appliance, mac(number)) }
    #expect(try await appliance.addNode(AddNode(mac: mac(1).description)).name == "n0000")
    _ = try await appliance.setNodes(["held-525400000002"], key: "name", value: "login")
    #expect(try appliance.nodes(["login"]).first?.held == false)
    #expect(try await initPlan(appliance, mac(2)).steps.map(\.name) == ["50-root"])
    try await appliance.close()
  }

  @Test(
    "It boots again where it is assigned what it has not booted: another capsule, other kernel arguments, its disk",
    arguments: [("vnfs", "rocky-9"), ("kernelArgs", "nomodeset"), ("boot", "local")])
  func restarts(key: String, value: String) async throws {
    let appliance = try await prepared(.hold)
    _ = await script(appliance, mac(1))
    _ = try await initPlan(appliance, mac(1))
    _ = try await appliance.setGroup("special", key: key, value: value)
    _ = try await appliance.addNode(AddNode(mac: mac(1).description, name: "n0007", group: "special"))
    let plan = try await initPlan(appliance, mac(1))
    #expect(plan.restart?.contains("restarts for") == true && plan.steps.isEmpty)
    // A stage 1 of before knows no restart: it waits, and restarts in the end.
    #expect(plan.wait != nil)
    try await appliance.close()
  }

  @Test("A machine that is refused gets an address and nothing to boot, and is logged once")
  func refused() async throws {
    let appliance = try await prepared(.refuse)
    let client = ClientDescription(
      hardwareAddress: mac(1), architectures: [0], speaker: .pxeFirmware, serverAddress: IPv4Address(10, 0, 0, 1))
    let answer = appliance.clientPolicy.boot(for: client)
    #expect(answer.bootFile == nil && answer.reason.contains("discovery: refuse"))
    let script = await script(appliance, mac(1))
    #expect(script.contains("refused") && !script.contains("/kernel"))
    let report = await appliance.nodeService.respond(to: .post("/v1/state", try report("init", boot: nil, mac(1))))
    #expect(report.status == 503 && text(report).contains("node add"))
    #expect(try appliance.nodes([]).isEmpty)
    _ = try await appliance.addNode(AddNode(mac: mac(1).description))
    #expect(appliance.clientPolicy.boot(for: client).bootFile == "undionly.kpxe")
    try await appliance.close()
  }

  @Test("Of many refused machines each is logged once, and a bounded number in a minute")
  func bounded() {
    let refused = RefusedMachines(logger: silent)
    let start = Moment(time: .now, uptime: 100)
    #expect(refused.refused(mac(1), now: start) && !refused.refused(mac(1), now: start))
    #expect((2..<1000).count { refused.refused(mac($0), now: start) } == RefusedMachines.perMinute - 1)
    #expect(refused.refused(mac(2000), now: start.adding(seconds: 61)))
  }

  @Test("Whoever makes up machines fills no registry with held ones")
  func limit() throws {
    var view = RegistryView()
    for number in 0..<3 {
      var node = Node(name: "held-\(number)", macs: [mac(number)], created: .now)
      node.isHeld = true
      view.apply(Batch(revision: Revision(number + 1), changes: try Registry.changes(from: nil, to: node)))
    }
    #expect(view.heldNodes == 3)
    let held = view.node(named: "held-1")
    var node = try #require(held)
    node.isHeld = false
    view.apply(Batch(revision: 9, changes: try Registry.changes(from: view.node(named: "held-1"), to: node)))
    view.apply(Batch(revision: 10, changes: try Registry.changes(from: view.node(named: "held-2"), to: nil)))
    #expect(view.heldNodes == 1)
  }
}
