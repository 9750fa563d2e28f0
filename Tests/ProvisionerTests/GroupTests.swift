import Foundation
import NetworkTypes
import StateProtocol
import Testing

@testable import Provisioner

@Suite("Groups of a node")
struct GroupTests {
  @Test("A node is in several groups: the main one's settings win, and the further ones fill what it leaves open")
  func settings() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    _ = try await appliance.addNode(AddNode(mac: mac(1).description, group: "gpu, rack7,gpu"))
    for (group, key, value) in [
      ("gpu", "var.A", "gpu"), ("rack7", "var.A", "rack"), ("rack7", "var.B", "rack"), ("rack7", "debug", "true"),
      ("rack7", "kernelArgs", "rack"), ("gpu", "kernelArgs", "gpu"),
    ] { _ = try await appliance.setGroup(group, key: key, value: value) }
    let node = try #require(try appliance.nodes(["n0000"]).first)
    #expect(node.group == "gpu" && node.groups == ["gpu", "rack7"])
    #expect(node.vars == ["A": "gpu", "B": "rack"] && node.debug && node.kernelArgs == "gpu")
    let why = try appliance.nodeWhy("n0000")
    #expect(why.settings.first { $0.key == "debug" }?.from == "group rack7")
    #expect(why.settings.first { $0.key == "kernelArgs" }?.from == "group gpu")
    let json = String(decoding: try JSONEncoder().encode(node), as: UTF8.self)
    #expect(json.contains("\"group\":\"gpu\"") && json.contains("\"groups\":[\"gpu\",\"rack7\"]"))
    try await appliance.close()
  }

  @Test("@group names the nodes of which any group is that one, and a group counts them all")
  func patterns() async throws {
    let directory = try TestDirectory()
    let appliance = try await makeAppliance(directory)
    _ = try await appliance.addNode(AddNode(mac: mac(1).description, group: "gpu,rack7"))
    _ = try await appliance.addNode(AddNode(mac: mac(2).description, group: "cpu,rack7"))
    #expect(try appliance.nodes(["@rack7"]).map(\.name) == ["n0000", "n0001"])
    #expect(try appliance.nodes(["@g*"]).map(\.name) == ["n0000"])
    #expect(try appliance.group("rack7").nodes == 2)
    #expect(try appliance.groupNodes("rack7").count == 2)
    #expect(try appliance.groupSummary().first { $0.name == "rack7" }?.states == ["unknown": 2])
    await #expect(throws: ApplianceError.self) { _ = try await appliance.deleteGroup("rack7") }
    let changes = try await appliance.setNodes(["@rack7"], key: "group", value: "one,two")
    #expect(changes.map(\.before) == ["gpu,rack7", "cpu,rack7"] && changes.map(\.after) == ["one,two", "one,two"])
    _ = try await appliance.setNodes(["@two"], key: "group", value: "")
    #expect(try appliance.nodes([]).map(\.groups) == [["cluster"], ["cluster"]])
    try await appliance.close()
    let again = try await makeAppliance(directory)
    #expect(try again.nodes(["@cluster"]).count == 2)
    try await again.close()
  }

  @Test("Scripts of the further groups come first, so that the main group's replace them")
  func levels() throws {
    let directory = try TestDirectory()
    let tree = NodescriptTree(directory: directory.path)
    for level in ["all", "group/main", "group/more"] { try directory.write(level, to: "init/\(level)/10-a") }
    for level in ["all", "group/more"] { try directory.write(level, to: "init/\(level)/20-b") }
    let scripts = try tree.scripts(state: "init", vnfs: "v", groups: ["main", "more"], node: "n")
    #expect(scripts.map(\.level) == ["group/main", "group/more"])
    #expect(scripts.map(\.replaced) == [["all", "group/more"], ["all"]])
  }

  @Test("A record from when a node had one group is read as that group")
  func oldRecord() throws {
    let record = """
      {"name": "n1", "macs": ["52:54:00:00:00:01"], "group": "gpu", "settings": {}, "created": "2026-01-02T03:04:05.000Z"}
      """
    let node = try decodeRecord(Node.self, Array(record.utf8))
    #expect(node.groups == ["gpu"])
    var written = node
    written.groups = ["a", "b"]
    let coded = try #require(try Change.put("node/n1", written).value)
    #expect(try decodeRecord(Node.self, coded) == written)
  }
}
