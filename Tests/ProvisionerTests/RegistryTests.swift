import CapsuleFormat
import DHCP
import Foundation
import NetworkTypes
import Testing

@testable import Provisioner

@Suite("The registry")
struct RegistryTests {
  @Test("The first node is number 0, and the next one takes the first number that is free")
  func naming() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    for number in 0..<3 { _ = try await appliance.addNode(AddNode(mac: mac(number).description)) }
    #expect(try appliance.nodes([]).map(\.name) == ["n0000", "n0001", "n0002"])
    _ = try await appliance.deleteNodes(["n0001"])
    #expect(try await appliance.addNode(AddNode(mac: mac(9).description)).name == "n0001")
    #expect(try await appliance.addNode(AddNode(mac: mac(10).description)).name == "n0003")
    try await appliance.close()
  }

  @Test("What a lease that was just written says of nodes is what it says when it is read again")
  func leases() async throws {
    let directory = try TestDirectory()
    let appliance = try await makeAppliance(directory)
    for number in 1...3 { _ = try await appliance.addNode(AddNode(mac: mac(number).description)) }
    let addresses = (0..<4).map { IPv4Address(10, 0, 0, UInt8(20 + $0)) }
    func lease(_ index: Int, _ number: Int, _ state: Lease.State) -> Lease {
      Lease(
        address: addresses[index], holder: .hardware(mac(number)), state: state, expires: 5_000_000_000,
        hostName: "h\(number)")
    }
    let leases = RegistryLeases(store: appliance.registry.store)
    try await leases.commit([lease(0, 1, .bound), lease(1, 2, .bound)])
    // One moves, one's address goes to another, and strangers come.
    try await leases.commit([lease(1, 2, .released), lease(2, 2, .bound), lease(0, 3, .bound), lease(3, 9, .bound)])
    let other = Lease(address: IPv4Address(10, 0, 0, 99), holder: .identifier([1, 2]), state: .bound, expires: 7)
    try await leases.commit([other])
    func seen(_ appliance: Appliance) -> [String] {
      appliance.registry.read { view in
        let held = addresses.map { view.holder(of: $0)?.description ?? "-" }
        let own = [1, 2, 3, 9].map { view.leasedAddress(of: mac($0))?.description ?? "-" }
        let all = view.leases.values.map { "\($0)" }.sorted()
        return held + own + all + ["waiting \(view.waitingNodes)"]
      }
    }
    let before = seen(appliance)
    #expect(before.contains("waiting 1") && before.contains("10.0.0.22"))
    try await appliance.close()
    let again = try await makeAppliance(directory)
    #expect(seen(again) == before)
    try await again.close()
  }

  @Test("A lease of a machine that is no node changes nothing in the list of nodes; one of a node does")
  func directory() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    _ = try await appliance.addNode(AddNode(mac: mac(1).description))
    let leases = RegistryLeases(store: appliance.registry.store)
    func commit(_ number: Int) async throws -> Int {
      let address = IPv4Address(10, 0, 0, UInt8(number))
      try await leases.commit([Lease(address: address, holder: .hardware(mac(number)), state: .bound, expires: 9)])
      return appliance.registry.read { $0.directoryRevision }
    }
    let before = appliance.registry.read { $0.directoryRevision }
    #expect(try await commit(2) == before)
    #expect(try await commit(1) > before)
    try await appliance.close()
  }

  @Test("A card or a fixed address that another node has is refused with its owner's name")
  func duplicates() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    _ = try await appliance.addNode(AddNode(mac: mac(1).description, name: "first"))
    _ = try await appliance.addNode(AddNode(mac: mac(2).description, name: "second"))
    let card = try await #require(throws: ApplianceError.self) {
      _ = try await appliance.addNode(AddNode(mac: mac(1).formatted(separator: "-")))
    }
    #expect(card.code == .conflict && card.message.contains("first"))
    _ = try await appliance.setNodes(["first"], key: "address", value: "10.0.0.5")
    let address = try await #require(throws: ApplianceError.self) {
      _ = try await appliance.setNodes(["second"], key: "address", value: "10.0.0.5")
    }
    #expect(address.code == .conflict && address.message.contains("first"))
    await #expect(throws: ApplianceError.self) {
      _ = try await appliance.addNode(AddNode(mac: mac(3).description, name: "first"))
    }
    try await appliance.close()
  }

  @Test("A thousand machines that appear at one moment get a thousand names")
  func storm() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    try await withThrowingTaskGroup(of: Void.self) { group in
      for number in 0..<1000 {
        group.addTask {
          _ = try await appliance.ledger.bind(BootLedger.Request(mac: mac(number), phase: .script))
        }
      }
      try await group.waitForAll()
    }
    let nodes = try appliance.nodes([])
    #expect(nodes.count == 1000 && nodes.last?.name == "n0999")
    #expect(Set(nodes.compactMap(\.mac)).count == 1000)
    try await appliance.close()
  }

  @Test("A setting comes from the node, else its group, else the defaults; an empty value gives it back")
  func inheritance() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    let digest = try makeCapsule("special", in: appliance.content)
    _ = try await appliance.registerCapsule("special", digest: digest)
    _ = try await appliance.addNode(AddNode(mac: mac(1).description, group: "gpu"))
    func vnfs() throws -> String? { try appliance.nodes(["n0000"]).first?.vnfs }
    #expect(try vnfs() == "debian-12")
    _ = try await appliance.setGroup("gpu", key: "vnfs", value: "special")
    #expect(try vnfs() == "special")
    _ = try await appliance.setGroup("gpu", key: "var.A", value: "group")
    _ = try await appliance.setNodes(["@gpu"], key: "var.A", value: "node")
    #expect(try appliance.nodes(["n0000"]).first?.vars == ["A": "node"])
    let change = try await appliance.setNodes(["n00*"], key: "var.A", value: "")
    #expect(change == [ChangeView(name: "n0000", key: "var.A", before: "node", after: nil)])
    #expect(try appliance.nodes(["n0000"]).first?.vars == ["A": "group"])
    try await appliance.close()
  }

  @Test(
    "A value that cannot be is refused with its key and what is allowed",
    arguments: [
      ("enabled", "maybe", "true or false"), ("boot", "floppy", "ipxe, grub, pxelinux, local"),
      ("root", "disk", "ram, overlay"), ("address", "300.1.1.1", "10.0.0.21"), ("address", "224.0.0.1", "one host"),
      ("mac", "ff:ff:ff:ff:ff:ff", "one card"), ("name", "a b", "host name"), ("vnfs", "none", "vnfs import"),
      ("colour", "red", "kernelArgs"), ("var.PATH", "/x", "appliance itself"), ("var.1", "x", "no digit first"),
      ("kernelArgs", "a\nb", "printable"), ("group", "a/b", "letters, digits"),
    ])
  func values(key: String, value: String, words: String) async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    _ = try await appliance.addNode(AddNode(mac: mac(1).description))
    let before = try appliance.nodes([])
    let error = try await #require(throws: ApplianceError.self) {
      _ = try await appliance.setNodes(["n0000"], key: key, value: value)
    }
    #expect(error.message.contains(words), "\(error)")
    #expect(try appliance.nodes([]) == before)
    try await appliance.close()
  }

  @Test("Nodes, groups, capsules and timelines are there again after the appliance was closed and opened")
  func survival() async throws {
    let directory = try TestDirectory()
    let appliance = try await makeAppliance(directory)
    let digest = try makeCapsule("debian-12", in: appliance.content)
    _ = try await appliance.registerCapsule("debian-12", digest: digest)
    let bound = try await appliance.ledger.bind(BootLedger.Request(mac: mac(1), phase: .script))
    appliance.ledger.record(mac(1), .http, "script", "words")
    _ = try await appliance.setGroup("gpu", key: "debug", value: "true")
    let nodes = try appliance.nodes([])
    let timeline = try await appliance.nodeTimeline("n0000")
    #expect(timeline.map(\.event) == ["node", "script"])
    try await appliance.close()
    let again = try await makeAppliance(directory)
    #expect(try again.nodes([]) == nodes)
    #expect(try await again.nodeTimeline("n0000") == timeline)
    #expect(again.registry.read { $0.boots[bound.boot.id] } == bound.boot)
    #expect(again.groups().map(\.name) == ["cluster", "gpu"])
    #expect(again.capsules().map(\.digest) == [digest.description])
    try await again.close()
  }

  @Test("A renamed node keeps its card, its boots and its timeline")
  func rename() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    _ = try await appliance.ledger.bind(BootLedger.Request(mac: mac(1), phase: .script))
    _ = try await appliance.setNodes(["n0000"], key: "name", value: "login")
    #expect(appliance.registry.effective(with: mac(1))?.name == "login")
    #expect(appliance.registry.read { $0.lastBoot(of: "login") }?.mac == mac(1))
    #expect(try await appliance.nodeTimeline("login").isEmpty == false)
    #expect(throws: ApplianceError.self) { try appliance.nodes(["n0000"]) }
    try await appliance.close()
  }

  @Test("A group with nodes and a capsule that is assigned are not deleted, and who uses them is named")
  func inUse() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    _ = try await appliance.registerCapsule("debian-12", digest: try makeCapsule("debian-12", in: appliance.content))
    _ = try await appliance.addNode(AddNode(mac: mac(1).description, group: "gpu"))
    let group = try await #require(throws: ApplianceError.self) { _ = try await appliance.deleteGroup("gpu") }
    #expect(group.code == .refused && group.message.contains("n0000"))
    let capsule = try await #require(throws: ApplianceError.self) { _ = try await appliance.deleteCapsule("debian-12") }
    #expect(capsule.code == .refused && capsule.message.contains("n0000"))
    _ = try await appliance.deleteNodes(["n0000"])
    _ = try await appliance.deleteCapsule("debian-12")
    #expect(appliance.capsules().isEmpty)
    try await appliance.close()
  }

  @Test("Missing loaders and a missing default capsule are warnings at the start, each with its remedy")
  func warnings() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    #expect(appliance.startWarnings().count == 1)
    #expect(appliance.startWarnings().first?.contains("vnfs import") == true)
    _ = try await appliance.registerCapsule("debian-12", digest: try makeCapsule("debian-12", in: appliance.content))
    #expect(appliance.startWarnings().isEmpty)
    try await appliance.close()
  }

  @Test("A new build is a new generation of its name; the same build again stays the one it is")
  func generations() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    let first = try makeCapsule("c", kernel: "6.1", in: appliance.content)
    let second = try makeCapsule("c", kernel: "6.2", in: appliance.content)
    #expect(try await appliance.registerCapsule("c", digest: first).generation == 1)
    #expect(try await appliance.registerCapsule("c", digest: first).generation == 1)
    let view = try await appliance.registerCapsule("c", digest: second)
    #expect(view.generation == 2 && view.kernel == "6.2" && view.generations.count == 2)
    let json = String(decoding: try JSONEncoder().encode(view), as: UTF8.self)
    #expect(json.contains("\"mountPath\":null"))
    try await appliance.close()
  }

  @Test("What a packet asks costs the same with 10,000 nodes as with 100")
  func cost() throws {
    // The time of the processor in this thread: what else runs at the same time does not count.
    func now() -> Int {
      // As `timespec`, whose members belong to one module or another, whichever is compiled with this one.
      var time = [0, 0]
      time.withUnsafeMutableBytes { bytes in
        guard let time = bytes.baseAddress?.assumingMemoryBound(to: timespec.self) else { return }
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, time)
      }
      return time[0] * 1_000_000_000 + time[1]
    }
    func nanoseconds(_ count: Int) throws -> Int {
      var view = RegistryView()
      for number in 0..<count {
        var node = Node(name: "n\(number)", macs: [mac(number)], created: Timestamp(milliseconds: 0))
        node.address = IPv4Address(rawValue: 0x0A00_0000 + UInt32(number))
        view.apply(Batch(revision: Revision(number + 1), changes: try Registry.changes(from: nil, to: node)))
      }
      let defaults = NodeDefaults()
      var best = Int.max
      for _ in 0..<7 {
        let start = now()
        for number in 0..<2000 {
          let node = view.node(with: mac(number % count))
          precondition(node.map { view.effective($0, defaults) }?.vnfs == "debian-12")
          precondition(view.node(reserving: IPv4Address(rawValue: 0x0A00_0000 + UInt32(number % count))) != nil)
        }
        best = min(best, now() - start)
      }
      return best
    }
    // A hundred times the nodes: a look-up that searched would take a hundred times as long. Caches miss more.
    #expect(try nanoseconds(10_000) < nanoseconds(100) * 4)
  }
}
