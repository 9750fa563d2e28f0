import CapsuleFormat
import DHCP
import Foundation
import NetworkTypes
import StateProtocol
import Testing

@testable import Provisioner

@Suite("The registry as a file")
struct RegistryFileTests {
  /// A module that is for one state, and active nowhere.
  private static let early = [
    "module.yaml": """
    name: early
    version: "1"
    description: For one state.
    files: [{ path: /etc/early, template: templates/early, states: [init] }]
    """, "templates/early": "early\n",
  ]

  /// A registry with something of everything.
  private func filled(_ directory: TestDirectory) async throws -> Appliance {
    let appliance = try await makeAppliance(directory)
    for name in ["debian-12", "rocky-9"] {
      _ = try await appliance.registerCapsule(name, digest: try makeCapsule(name, in: appliance.content))
    }
    _ = try await appliance.addNode(AddNode(mac: mac(1).description, group: "gpu,rack7"))
    _ = try await appliance.addNode(
      AddNode(
        mac: "\(mac(2)),\(mac(3))", name: "login", vnfs: "rocky-9", guid: "4c4c4544-0034-3010-8051-b7c04f4a3532",
        clientid: "ff:00:01"))
    for (key, value, node) in [
      ("address", "10.0.0.21", "login"), ("kernelArgs", "a=b: # 'c' \"d\"", "n0000"), ("enabled", "false", "login"),
      ("description", "Ünïcode, with: colons, [brackets] and #hash", "n0000"), ("boot", "grub", "login"),
      ("root", "overlay", "n0000"), ("debug", "true", "n0000"), ("var.NUMBER", "0123", "n0000"),
      ("var.TRUTH", "yes", "n0000"), ("var.LINES", "one\ntwo\n", "n0000"), ("var.SPACE", "  x ", "n0000"),
    ] { _ = try await appliance.setNodes([node], key: key, value: value) }
    _ = try await appliance.setGroup("gpu", key: "var.A", value: "null")
    _ = try await appliance.setGroup("rack7", key: "vnfs", value: "rocky-9")
    for files in [ModuleTests.motd, Self.early] {
      _ = try await appliance.importModule(try ModuleTests.archive(files))
    }
    _ = try await appliance.activateModule("motd", roles: ["init/group/gpu", "init/node/login", "init/vnfs/rocky-9"])
    return appliance
  }

  /// Everything that is answered about the nodes: what they boot, their plans, what people are shown.
  private func answers(_ appliance: Appliance) async throws -> [String] {
    var answers: [String] = []
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
    for var node in try appliance.nodes([]) {
      // What its machine said of itself is no setting.
      node.facts = nil
      answers.append(String(decoding: try encoder.encode(node), as: UTF8.self))
    }
    for number in 1...3 {
      let client = ClientDescription(
        hardwareAddress: mac(number), architectures: [0], speaker: .pxeFirmware, serverAddress: IPv4Address(10, 0, 0, 1)
      )
      answers.append("\(appliance.clientPolicy.boot(for: client))")
      answers.append("\(String(describing: appliance.clientPolicy.reservation(for: client)))")
      let response = await appliance.nodeService.respond(
        to: .post("/v1/state", try report("ready", boot: nil, mac(number))))
      answers.append(text(response))
    }
    for name in ["n0000", "login"] {
      answers.append(String(decoding: try encoder.encode(appliance.nodeWhy(name)), as: UTF8.self))
    }
    answers.append(String(decoding: try encoder.encode(appliance.groups()), as: UTF8.self))
    return answers
  }

  @Test("Exported, wiped and imported it gives the same answers, and the same file again")
  func roundTrip() async throws {
    let appliance = try await filled(try TestDirectory())
    let before = try await answers(appliance)
    let file = try appliance.exportRegistry().text
    _ = try await appliance.deactivateModule("motd", roles: [])
    _ = try await appliance.deleteNodes(["*"])
    _ = try await appliance.deleteGroup("rack7")
    let done = try await appliance.importRegistry(ImportRegistry(file: "r.yaml", text: file))
    #expect(done.nodes == 2 && done.groups == 2 && done.missingCapsules == [])
    #expect(done.nodeChanges.removed.isEmpty && done.nodeChanges.added == ["login", "n0000"])
    #expect(done.moduleChanges == ["motd"])
    #expect(try await answers(appliance) == before)
    #expect(try appliance.exportRegistry().text == file)
    try await appliance.close()
    // And in another appliance, which has nothing yet.
    let other = try await makeAppliance(try TestDirectory())
    let error = try await #require(throws: ApplianceError.self) {
      _ = try await other.importRegistry(ImportRegistry(file: "r.yaml", text: file))
    }
    #expect(error.message.contains("modules.motd.active: there is no module 'motd' here: perseid module import"))
    #expect(try other.nodes([]).isEmpty)
    for files in [ModuleTests.motd, Self.early] {
      _ = try await other.importModule(try ModuleTests.archive(files))
    }
    let there = try await other.importRegistry(ImportRegistry(file: "r.yaml", text: file))
    #expect(there.missingCapsules == ["rocky-9"])
    #expect(
      try other.exportRegistry().text.components(separatedBy: "capsules:")[0]
        == file.components(separatedBy: "capsules:")[0])
    try await other.close()
  }

  @Test("An import replaces what is there: cards may move, and nodes that stay keep their boots")
  func replaces() async throws {
    let appliance = try await filled(try TestDirectory())
    let bound = try await appliance.ledger.bind(BootLedger.Request(mac: mac(1), phase: .script))
    let text = """
      perseid: 1
      nodes:
        n0000: { mac: "\(mac(2))" }
        spare: { mac: ["\(mac(9))", "\(mac(1))"], group: a, vars: { X: 1 } }
      """
    let created = try appliance.nodes(["n0000"]).first?.created
    // First what it would do, which does nothing.
    let before = try appliance.exportRegistry()
    let would = try await appliance.importRegistry(ImportRegistry(file: "r.yaml", text: text, check: true))
    #expect(try appliance.exportRegistry() == before)
    #expect(appliance.changeLog(count: 1).first?.action != "import")
    let done = try await appliance.importRegistry(ImportRegistry(file: "r.yaml", text: text))
    #expect(done == would)
    // A file that does not speak of modules leaves them as they are.
    #expect(try appliance.module("motd").active.count == 3)
    #expect(done.nodeChanges.removed == ["login"] && done.nodeChanges.changed == ["n0000"])
    #expect(done.nodeChanges.added == ["spare"] && done.moduleChanges.isEmpty)
    #expect(done.groupChanges.removed.count == 2 && done.groups == 0)
    let again = try await appliance.importRegistry(
      ImportRegistry(file: "r.yaml", text: try appliance.exportRegistry().text, check: true))
    #expect(again.nodeChanges.changed.isEmpty && again.nodeChanges.added.isEmpty && again.groupChanges.changed.isEmpty)
    // It was active for a node that has gone, which is no longer said.
    #expect(again.moduleChanges == ["motd"])
    #expect(try appliance.nodes([]).map(\.macs) == [[mac(2)], [mac(9), mac(1)]])
    #expect(appliance.registry.read { $0.lastBoot(of: "n0000") }?.id == bound.boot.id)
    #expect(try appliance.nodes(["spare"]).first?.vars == ["X": "1"])
    #expect(appliance.changeLog(count: 1).first?.action == "import")
    #expect(try appliance.nodes(["n0000"]).first?.created == created)
    try await appliance.close()
  }

  @Test(
    "What cannot be is refused with file, line, key, what was found and what is allowed, and nothing is changed",
    arguments: [
      ("", "found nothing"),
      ("perseid: 2\n", "r.yaml, line 1: perseid: found '2', allowed is 1"),
      ("nodes: {}\n", "perseid: found nothing"),
      ("perseid: 1\nnodes:\n  a b: { mac: 52:54:00:00:00:01 }\n", "line 3"),
      ("perseid: 1\nnodes:\n  n1: { group: a }\n", "nodes.n1.mac: found nothing"),
      ("perseid: 1\nnodes:\n  n1: { mac: nonsense }\n", "line 3: nodes.n1.mac: 'nonsense' is not allowed"),
      (
        "perseid: 1\nnodes:\n  n1: { mac: '52:54:00:00:00:01', colour: red }\n", "nodes.n1.colour: there is no such key"
      ),
      (
        "perseid: 1\nnodes:\n  n1: { mac: '52:54:00:00:00:01' }\n  n2: { mac: '52:54:00:00:00:01' }\n",
        "line 4: nodes.n2.mac: The hardware address 52:54:00:00:00:01 belongs to node n1"
      ),
      (
        "perseid: 1\nnodes:\n  n1: { mac: '52:54:00:00:00:01', address: 10.0.0.9 }\n"
          + "  n2: { mac: '52:54:00:00:00:02', address: 10.0.0.9 }\n",
        "line 4: nodes.n2.address: The address 10.0.0.9 is set aside for node n1"
      ),
      ("perseid: 1\nnodes:\n  n1: { mac: '52:54:00:00:00:01', boot: floppy }\n", "ipxe, grub, pxelinux, local"),
      ("perseid: 1\ngroups:\n  g: { vars: { PATH: x } }\n", "groups.g.vars.PATH"),
      ("perseid: 1\nmodules: { motd: { active: [init] } }\n", "modules.motd.active"),
      ("perseid: 1\nmodules: { motd: { active: init/node/n9 } }\n", "found init/node/n9, allowed are nodes of this"),
      ("perseid: 1\nmodules: { early: { version: 1, active: burn/all } }\n", "allowed are states that the module has"),
      ("perseid: 1\ngroups: [a]\n", "groups: found a list"),
      ("perseid: 1\nnodes: {\n", "not YAML"),
    ])
  func refused(text: String, words: String) async throws {
    let appliance = try await filled(try TestDirectory())
    let before = try appliance.exportRegistry()
    let error = try await #require(throws: ApplianceError.self) {
      _ = try await appliance.importRegistry(ImportRegistry(file: "r.yaml", text: text))
    }
    #expect(error.code == .invalid && error.message.contains(words), "\(error.message)")
    #expect(try appliance.exportRegistry() == before)
    try await appliance.close()
  }
}
