import Foundation
import NetworkTypes
import StateProtocol
import Testing

@testable import Provisioner

@Suite("What was changed, and replacement")
struct ChangeLogTests {
  @Test("Every change is recorded with who, when, before and after, and outlives a restart")
  func records() async throws {
    let directory = try TestDirectory()
    let appliance = try await makeAppliance(directory)
    try await Changer.$name.withValue("uid 1000") {
      _ = try await appliance.addNode(AddNode(mac: mac(1).description))
      _ = try await appliance.setNodes(["n0000"], key: "debug", value: "true")
      _ = try await appliance.setNodes(["n0000"], key: "debug", value: "true")
    }
    try await Changer.$name.withValue("token backup") {
      _ = try await appliance.setGroup("gpu", key: "kernelArgs", value: "a")
      _ = try await appliance.deleteGroup("gpu")
      _ = try await appliance.deleteNodes(["n0000"])
    }
    try await appliance.close()
    let again = try await makeAppliance(directory)
    let log = again.changeLog(count: 100)
    #expect(log.map(\.what) == ["node n0000", "node n0000", "group gpu", "group gpu", "node n0000"])
    #expect(log.map(\.action) == ["add", "set", "set", "delete", "delete"])
    #expect(log.map(\.who) == ["uid 1000", "uid 1000", "token backup", "token backup", "token backup"])
    #expect(log[1].words == "set debug (inherited) -> true")
    #expect(again.changeLog(count: 2).map(\.number) == [4, 5])
    _ = try await again.addNode(AddNode(mac: mac(1).description))
    #expect(again.changeLog(count: 1).first?.number == 6)
    try await again.close()
  }

  @Test("The record is bounded: the oldest changes give way, and one of very many nodes is summed up")
  func bounded() async throws {
    var view = RegistryView()
    for number in 1...(ChangeRecord.limit + 10) {
      let record = ChangeRecord(number: number, at: .now, who: "w", what: "node n", action: "set")
      let key = RecordKey.change + String(number % ChangeRecord.limit)
      view.apply(Batch(revision: Revision(number), changes: [try .put(key, record)]))
    }
    #expect(view.changes.count == ChangeRecord.limit && view.nextChange == ChangeRecord.limit + 11)
    let many = (0..<5000).map { RegistryView.Made(what: "node \($0)", action: "set") }
    #expect(try view.records(of: many, by: "w", at: .now).count == ChangeRecord.limit / 4 + 1)
  }

  @Test("node log has what a node reported in its boots, and what was changed about it under any of its names")
  func nodeLog() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    _ = try await appliance.ledger.bind(BootLedger.Request(mac: mac(1), phase: .script))
    _ = try await appliance.setNodes(["n0000"], key: "debug", value: "true")
    _ = try await appliance.setNodes(["n0000"], key: "name", value: "login")
    _ = try await appliance.addNode(AddNode(mac: mac(2).description, name: "n0000"))
    let log = try await appliance.nodeLog("login", count: 100)
    #expect(log.filter { $0.source == "change" }.map(\.detail).contains("set debug (inherited) -> true"))
    #expect(log.contains { $0.source == "http" && $0.event == "node" })
    #expect(!log.contains { $0.detail.hasPrefix("add") })
    #expect(try await appliance.nodeLog("login", count: 1).count == 1)
    try await appliance.close()
  }

  @Test("A replaced node keeps name, settings and address, and has the other's machine; the other is no more")
  func replace() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    _ = try await appliance.addNode(AddNode(mac: mac(1).description, name: "n0099", group: "gpu"))
    _ = try await appliance.setNodes(["n0099"], key: "address", value: "10.0.0.99")
    _ = try await appliance.setNodes(["n0099"], key: "var.A", value: "b")
    let bound = try await appliance.ledger.bind(BootLedger.Request(mac: mac(2), phase: .script))
    #expect(bound.node.name == "n0000")
    _ = await appliance.nodeService.respond(to: .post("/v1/state", try report("init", boot: bound.boot.id, mac(2))))
    let node = try await appliance.replaceNode("n0099", by: "n0000")
    #expect(node.name == "n0099" && node.macs == [mac(2)] && node.groups == ["gpu"] && node.vars == ["A": "b"])
    #expect(node.fixedAddress == IPv4Address(10, 0, 0, 99))
    #expect(try appliance.nodes([]).map(\.name) == ["n0099"])
    #expect(appliance.registry.read { $0.node(with: mac(1)) } == nil)
    #expect(appliance.registry.read { $0.lastBoot(of: "n0099") }?.id == bound.boot.id)
    #expect(try appliance.nodeStatus([]).first?.state == "init")
    #expect(appliance.changeLog(count: 1).first?.words.contains("of n0000") == true)
    // The old machine's card is free for another node.
    _ = try await appliance.addNode(AddNode(mac: mac(1).description, name: "spare"))
    try await appliance.close()
  }

  @Test("A node is replaced by a card that nobody has; another node's card is refused with its owner's name")
  func replaceByCard() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    _ = try await appliance.addNode(AddNode(mac: mac(1).description, name: "n0001"))
    _ = try await appliance.addNode(AddNode(mac: mac(2).description, name: "n0002"))
    #expect(try await appliance.replaceNode("n0001", by: mac(5).description).macs == [mac(5)])
    for (new, code, words) in [
      (mac(2).description, ApplianceError.Code.conflict, "perseid node replace n0001 n0002"),
      ("n0001", .invalid, "itself"), ("n0009", .notFound, "n0009"), ("a b", .invalid, "hardware address"),
    ] {
      let error = try await #require(throws: ApplianceError.self) {
        _ = try await appliance.replaceNode("n0001", by: new)
      }
      #expect(error.code == code && error.message.contains(words), "\(error)")
    }
    #expect(try appliance.nodes([]).map(\.macs) == [[mac(5)], [mac(2)]])
    try await appliance.close()
  }
}
