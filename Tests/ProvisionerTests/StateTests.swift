import CapsuleFormat
import Foundation
import NetworkTypes
import StateProtocol
import Testing

@testable import Provisioner

@Suite("The state exchange")
struct StateTests {
  private func prepared(_ directory: TestDirectory) async throws -> (Appliance, Boot) {
    let appliance = try await makeAppliance(directory)
    _ = try await appliance.registerCapsule("debian-12", digest: try makeCapsule("debian-12", in: appliance.content))
    let bound = try await appliance.ledger.bind(
      BootLedger.Request(mac: mac(1), address: IPv4Address(10, 0, 0, 21), phase: .script))
    return (appliance, bound.boot)
  }

  private func plan(_ appliance: Appliance, _ state: String, _ boot: String?, _ card: MACAddress = mac(1)) async throws
    -> Plan
  {
    let response = await appliance.nodeService.respond(to: .post("/v1/state", try report(state, boot: boot, card)))
    let body = bytes(response.body)
    #expect(response.status == 200, "\(text(response))")
    let field = try #require(response.fields.first { $0.name == "Content-Digest" })
    let digest = try RenderedContent().add(body)
    #expect(ContentDigest.digest(inFieldValue: field.value) == digest)
    return try Plan.decode(body)
  }

  @Test("A node's address is what it says of itself in this boot, before the one that its boot began with")
  func ownAddress() async throws {
    let (appliance, boot) = try await prepared(try TestDirectory())
    #expect(try appliance.nodeStatus([]).first?.address == IPv4Address(10, 0, 0, 21))
    let own = IPv4Address(10, 0, 7, 7)
    let said = StateReport(
      state: "ready", boot: boot.id, hardwareAddresses: [mac(1)], address: own,
      facts: Facts(kernelRelease: "6.1.0-test", memoryBytes: 1 << 30, processors: 1, uptimeSeconds: 1))
    let answer = await appliance.nodeService.respond(to: .post("/v1/state", try ProtocolJSON.encode(said)))
    #expect(answer.status == 200)
    #expect(try appliance.nodeStatus([]).first?.address == own)
    #expect(try appliance.nodes([]).first?.address == own)
    try await appliance.close()
  }

  @Test("The plan for init has the scripts of all levels in order around the root, each fetched by its digest")
  func initPlan() async throws {
    let directory = try TestDirectory()
    let (appliance, boot) = try await prepared(directory)
    try directory.write("echo early\n", to: "state/nodescripts/init/all/10-early")
    try directory.write("echo \"export WHO=$NODENAME-$SITE\"\n", to: "state/nodescripts/init/node/n0000/70-late.server")
    _ = try await appliance.setNodes(["n0000"], key: "var.SITE", value: "here")
    let plan = try await plan(appliance, "init", boot.id)
    #expect(plan.steps.map(\.name) == ["10-early", "50-root", "70-late"])
    #expect(plan.steps.map(\.level) == ["all", "built-in", "node/n0000"])
    #expect(plan.nodeName == "n0000" && plan.boot == boot.id && plan.nextState == "ready")
    #expect(plan.intervalSeconds == 60 && plan.wait == nil)
    let root = try #require(plan.steps[1].root)
    let files = try appliance.catalog.files(of: try #require(boot.digest))
    #expect(root.generation == boot.digest && root.blob == files.root && root.mode == "ram" && root.bytes == 1000)
    #expect(plan.steps[1].digest == files.frameIndex.digest && plan.steps[1].length == files.frameIndex.size)
    for (step, content) in [(plan.steps[0], "echo early\n"), (plan.steps[2], "export WHO=n0000-here\n")] {
      let blob = await appliance.nodeService.respond(to: .get("/blobs/sha256/\(step.digest.hexadecimal)"))
      #expect(text(blob) == content && step.length == Int64(content.utf8.count) && blob.isImmutable)
    }
    for (name, value) in [
      ("STATE", "init"), ("NODENAME", "n0000"), ("NODEID", "52:54:00:00:00:01"), ("GROUPNAME", "cluster"),
      ("VNFS", "debian-12"), ("ENABLED", "1"), ("DEBUG", "0"), ("IPADDR", "10.0.0.21"), ("MASTER", "10.0.0.1"),
      ("VNFSMASTER", "10.0.0.1"), ("SITE", "here"),
    ] { #expect(plan.environment[name] == value, "\(name)") }
    try await appliance.close()
  }

  @Test("Plans and kernel lines name the appliances that stand by, and not the one that answers")
  func standby() async throws {
    let directory = try TestDirectory()
    let appliance = try await makeAppliance(directory) {
      $0.provisioner.standby = [
        .init(address: IPv4Address(10, 0, 0, 1), port: 9870), .init(address: IPv4Address(10, 0, 0, 2), port: 99),
      ]
    }
    _ = try await appliance.registerCapsule("debian-12", digest: try makeCapsule("debian-12", in: appliance.content))
    let bound = try await appliance.ledger.bind(
      BootLedger.Request(mac: mac(1), address: IPv4Address(10, 0, 0, 21), phase: .script))
    for state in ["init", "ready"] {
      let plan = try await plan(appliance, state, bound.boot.id)
      #expect(plan.otherServers == [.init(address: IPv4Address(10, 0, 0, 2), port: 99)], "\(state)")
    }
    let script = text(
      await appliance.nodeService.respond(to: .get("/ipxe", ["mac": mac(1).description])))
    #expect(script.contains(" perseid.server=10.0.0.1:9870,10.0.0.2:99 "), "\(script)")
    try await appliance.close()
  }

  @Test("A capsule's own nodescripts are the first level, of the generation that the boot began with")
  func carriedScripts() async throws {
    let directory = try TestDirectory()
    let appliance = try await makeAppliance(directory)
    let own = [
      "init/10-a": "echo capsule a\n", "init/20-b": "echo capsule b\n", "init/30-c.server": "echo echo $NODENAME\n",
      "ready/40-d": "echo ready\n", "burn-in/50-e": "echo hot\n",
    ]
    _ = try await appliance.registerCapsule(
      "debian-12", digest: try makeCapsule("debian-12", in: appliance.content, nodescripts: own))
    let boot = try await appliance.ledger.bind(
      BootLedger.Request(mac: mac(1), address: IPv4Address(10, 0, 0, 21), phase: .script)
    ).boot
    // Also of a state that nobody else speaks of.
    let why = try appliance.nodeWhy("n0000").scripts.map { "\($0.state)/\($0.name) \($0.level)" }
    #expect(why.contains("burn-in/50-e vnfs/debian-12"), "\(why)")
    try directory.write("echo site a\n", to: "state/nodescripts/init/vnfs/debian-12/10-a")
    try directory.write("echo all b\n", to: "state/nodescripts/init/all/20-b")
    _ = try await appliance.registerCapsule(
      "debian-12", digest: try makeCapsule("debian-12", kernel: "7", in: appliance.content))
    let plan = try await plan(appliance, "init", boot.id)
    #expect(plan.steps.map(\.name) == ["10-a", "20-b", "30-c", "50-root"])
    #expect(plan.steps.map(\.level) == ["vnfs/debian-12", "all", "vnfs/debian-12", "built-in"])
    for (step, content) in zip(plan.steps, ["echo site a\n", "echo all b\n", "echo n0000\n"]) {
      let blob = await appliance.nodeService.respond(to: .get("/blobs/sha256/\(step.digest.hexadecimal)"))
      #expect(text(blob) == content)
    }
    #expect(try await self.plan(appliance, "ready", boot.id).steps.map(\.name) == ["40-d"])
    try await appliance.close()
  }

  @Test("The root's mode is the node's or its group's, else the capsule's, and status and why say which and whose")
  func rootModes() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    let digest = try makeCapsule(
      "debian-12", in: appliance.content, rootModes: ["overlay", "ram"], hasImage: true)
    _ = try await appliance.registerCapsule("debian-12", digest: digest)
    let boot = try await appliance.ledger.bind(
      BootLedger.Request(mac: mac(1), address: IPv4Address(10, 0, 0, 21), phase: .script)
    ).boot
    func expect(_ mode: RootMode, from: String) async throws {
      let root = try #require(try await plan(appliance, "init", boot.id).steps.first?.root)
      let image = try appliance.catalog.files(of: digest).rootImage
      #expect(root.mode == mode.rawValue && root.image == image)
      #expect(try appliance.nodeStatus([]).first?.root == mode)
      #expect(try appliance.nodes(["n0000"]).first?.root == mode)
      let setting = try appliance.nodeWhy("n0000").settings.first { $0.key == "root" }
      #expect(setting?.value == mode.rawValue && setting?.from == from)
    }
    try await expect(.overlay, from: "capsule debian-12")
    _ = try await appliance.setGroup("cluster", key: "root", value: "ram")
    try await expect(.ram, from: "group cluster")
    _ = try await appliance.setNodes(["n0000"], key: "root", value: "overlay")
    try await expect(.overlay, from: "node")
    try await appliance.close()
  }

  @Test("A capsule without an image, or not made for a mode, is refused for it with what to do")
  func refusesMode() async throws {
    let (appliance, boot) = try await prepared(try TestDirectory())
    _ = try await appliance.setNodes(["n0000"], key: "root", value: "overlay")
    let body = try report("init", boot: boot.id, mac(1))
    let response = await appliance.nodeService.respond(to: .post("/v1/state", body))
    #expect(text(response).contains("\"steps\":[]"))
    #expect(text(response).contains("has no erofs image") && text(response).contains("node set root ram n0000"))
    let maker = try makeCapsule("only", in: appliance.content, rootModes: ["overlay"], hasImage: true)
    _ = try await appliance.registerCapsule("only", digest: maker)
    _ = try await appliance.setNodes(["n0000"], key: "vnfs", value: "only")
    _ = try await appliance.setNodes(["n0000"], key: "root", value: "ram")
    let next = try await appliance.ledger.bind(
      BootLedger.Request(mac: mac(1), address: IPv4Address(10, 0, 0, 21), phase: .script)
    ).boot
    let nextBody = try report("init", boot: next.id, mac(1))
    let other = await appliance.nodeService.respond(to: .post("/v1/state", nextBody))
    #expect(text(other).contains("\"steps\":[]") && text(other).contains("is made for overlay alone"), "\(text(other))")
    try await appliance.close()
  }

  @Test("The plan is for the generation the boot began with, whatever was assigned since")
  func bound() async throws {
    let (appliance, boot) = try await prepared(try TestDirectory())
    _ = try await appliance.registerCapsule(
      "debian-12", digest: try makeCapsule("debian-12", kernel: "7", in: appliance.content))
    let plan = try await plan(appliance, "init", boot.id)
    #expect(plan.steps.first?.root?.generation == boot.digest && plan.boot == boot.id)
    try await appliance.close()
  }

  @Test("A machine that is no node becomes one with init, and with no other state")
  func newNode() async throws {
    let (appliance, _) = try await prepared(try TestDirectory())
    let ready = await appliance.nodeService.respond(to: .post("/v1/state", try report("ready", boot: nil, mac(5))))
    #expect(ready.status == 404 && text(ready).contains("boot it again"))
    let plan = try await plan(appliance, "init", nil, mac(5))
    #expect(plan.nodeName == "n0001" && plan.boot != nil && plan.steps.map(\.name) == ["50-root"])
    try await appliance.close()
  }

  @Test("A disabled node and one without a capsule wait, and are told why")
  func waits() async throws {
    let (appliance, boot) = try await prepared(try TestDirectory())
    _ = try await appliance.setNodes(["n0000"], key: "enabled", value: "false")
    let disabled = try await plan(appliance, "init", boot.id)
    #expect(disabled.wait?.reason.contains("disabled") == true && disabled.steps.isEmpty)
    try await appliance.close()
    let empty = try await makeAppliance(try TestDirectory())
    let waiting = try await plan(empty, "init", nil)
    #expect(waiting.wait?.reason.contains("debian-12 is not there") == true)
    try await empty.close()
  }

  @Test("Status follows the reports, and survives a restart")
  func status() async throws {
    let directory = try TestDirectory()
    let (appliance, boot) = try await prepared(directory)
    #expect(try appliance.nodeStatus([]).map(\.state) == ["booting"])
    _ = try await plan(appliance, "init", boot.id)
    #expect(try appliance.nodeStatus([]).map(\.state) == ["init"])
    let events = EventReport(
      state: "init", boot: boot.id, hardwareAddresses: [mac(1)],
      events: [StepEvent(step: "50-root", outcome: .failed, seconds: 1.5, exitCode: 4, detail: "disk\u{1B}[2J full")])
    let recorded = await appliance.nodeService.respond(to: .post("/v1/events", try ProtocolJSON.encode(events)))
    #expect(recorded.status == 204)
    #expect(try appliance.nodeStatus([]).first?.step == "50-root")
    _ = try await plan(appliance, "ready", boot.id)
    _ = try await plan(appliance, "ready", boot.id)
    let view = try #require(try appliance.nodeStatus(["n0000"]).first)
    #expect(view.state == "ready" && view.address == IPv4Address(10, 0, 0, 21) && view.lastContact != nil)
    let timeline = try await appliance.nodeTimeline("n0000")
    #expect(timeline.map(\.event) == ["node", "init", "50-root failed", "ready"])
    #expect(timeline[2].detail == "exit code 4, disk [2J full" && timeline[2].seconds == 1.5)
    try await appliance.close()
    let again = try await makeAppliance(directory)
    #expect(try again.nodeStatus([]).map(\.state) == ["ready"])
    #expect(try again.nodeStatus([]).first?.lastContact == view.lastContact)
    try await again.close()
  }

  @Test("A running node that falls silent is noticed once, and again when it speaks")
  func silence() async throws {
    let (appliance, boot) = try await prepared(try TestDirectory())
    _ = try await plan(appliance, "ready", boot.id)
    appliance.noticeDelays(now: .now)
    let late = Moment.now.adding(seconds: 1000)
    appliance.noticeDelays(now: late)
    appliance.noticeDelays(now: late)
    #expect(try appliance.nodeStatus([]).first?.detail?.contains("silent") == true)
    _ = try await plan(appliance, "ready", boot.id)
    let events = try await appliance.nodeTimeline("n0000").map(\.event)
    #expect(events.filter { $0 == "silent" }.count == 1 && events.filter { $0 == "ready" }.count == 2)
    try await appliance.close()
  }

  @Test("Cards that a machine reports together become one node's; another node's card stays there")
  func cards() async throws {
    let (appliance, boot) = try await prepared(try TestDirectory())
    _ = try await appliance.addNode(AddNode(mac: mac(3).description, name: "other"))
    let message = StateReport(
      state: "init", boot: boot.id, hardwareAddresses: [mac(1), mac(2), mac(3)], address: nil,
      facts: Facts(kernelRelease: "6", memoryBytes: 1, processors: 1, uptimeSeconds: 1))
    _ = await appliance.nodeService.respond(to: .post("/v1/state", try ProtocolJSON.encode(message)))
    #expect(try appliance.nodes(["n0000"]).first?.macs == [mac(1), mac(2)])
    #expect(try appliance.nodes(["other"]).first?.macs == [mac(3)])
    try await appliance.close()
  }

  @Test("A malformed report is refused, and the node keeps its last state")
  func malformed() async throws {
    let (appliance, boot) = try await prepared(try TestDirectory())
    _ = try await plan(appliance, "ready", boot.id)
    let bad: [([UInt8], Int)] = [
      (Array("{".utf8), 400), ([], 400), (Array(repeating: 32, count: StateReport.sizeLimit + 1), 413),
      (try report("../x", boot: boot.id, mac(1)), 400), (try report("ready", boot: boot.id, .broadcast), 400),
    ]
    for (body, status) in bad {
      #expect(await appliance.nodeService.respond(to: .post("/v1/state", body)).status == status)
    }
    #expect(try appliance.nodeStatus([]).map(\.state) == ["ready"])
    try await appliance.close()
  }

  @Test("A script that fails on the appliance makes the node wait with the reason, not boot without it")
  func serverScript() async throws {
    let directory = try TestDirectory()
    let (appliance, boot) = try await prepared(directory)
    try directory.write("exit 9\n", to: "state/nodescripts/init/all/20-bad.server")
    let plan = try await plan(appliance, "init", boot.id)
    #expect(plan.steps.isEmpty && plan.wait?.reason.contains("exit code 9") == true)
    try await appliance.close()
  }

  @Test("Watchers see events as they happen, of their node alone")
  func watching() async throws {
    let (appliance, boot) = try await prepared(try TestDirectory())
    let mine = appliance.watch(node: "n0000")
    let others = appliance.watch(node: "n9999")
    _ = try await plan(appliance, "init", boot.id)
    var iterator = mine.makeAsyncIterator()
    #expect(await iterator.next()?.event == "init")
    try await appliance.close()
    #expect(await others.first { _ in true } == nil)
  }

  @Test("why tells generation, answers, scripts with what they replaced, and where each setting comes from")
  func why() async throws {
    let directory = try TestDirectory()
    let (appliance, boot) = try await prepared(directory)
    try directory.write("a", to: "state/nodescripts/init/all/10-a")
    try directory.write("b", to: "state/nodescripts/init/group/cluster/10-a")
    _ = try await appliance.setGroup("cluster", key: "debug", value: "true")
    let why = try appliance.nodeWhy("n0000")
    #expect(why.generation == 1 && why.digest == boot.digest?.description)
    #expect(why.scripts.map(\.level) == ["group/cluster"] && why.scripts.first?.replaced == ["all"])
    #expect(why.settings.first { $0.key == "debug" }?.from == "group cluster")
    try directory.write("c", to: "state/nodescripts/burn-in/all/20-c")
    try directory.write("d", to: "state/nodescripts/ready/node/n0000/30-d.server")
    let all = try appliance.nodeWhy("n0000").scripts
    #expect(all.map(\.state) == ["init", "ready", "burn-in"] && all.map(\.onAppliance) == [false, true, false])
    #expect(why.answers.first { $0.client == "iPXE on BIOS" }?.bootFile?.contains("APPLIANCE:9870/ipxe") == true)
    try await appliance.close()
  }
}
