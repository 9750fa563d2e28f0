import Capsule
import CapsuleFormat
import Foundation
import NetworkTypes
import StateProtocol
import Testing

@testable import Provisioner

@Suite("Generations of capsules", .timeLimit(.minutes(5)))
struct GenerationTests {
  private func register(
    _ kernel: String, as name: String = "debian-12", in appliance: Appliance
  ) async throws -> CapsuleFormat.Digest {
    let digest = try makeCapsule(name, kernel: kernel, in: appliance.content)
    _ = try await appliance.registerCapsule(name, digest: digest, origin: "a test")
    return digest
  }

  @Test("are in the history with their origin, and any of them boots again after a rollback")
  func rollback() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    let first = try await register("1", in: appliance)
    _ = try await register("2", in: appliance)
    _ = try await register("3", in: appliance)
    let back = try await appliance.rollBackCapsule("debian-12", to: nil)
    #expect(back.generation == 2)
    #expect(back.generations.map(\.generation) == [1, 2, 3])
    #expect(back.generations.map(\.isCurrent) == [false, true, false])
    #expect(back.generations.allSatisfy { $0.origin == "a test" })
    #expect(try await appliance.rollBackCapsule("debian-12", to: 1).digest == first.description)
    await #expect(throws: ApplianceError.self) { try await appliance.rollBackCapsule("debian-12", to: nil) }
    await #expect(throws: ApplianceError.self) { try await appliance.rollBackCapsule("debian-12", to: 9) }
    _ = try await register("4", in: appliance)
    #expect(try appliance.capsule("debian-12").generation == 4)
    try await appliance.close()
  }

  @Test("are cloned under another name, which goes its own way")
  func clone() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    let first = try await register("1", in: appliance)
    _ = try await register("2", in: appliance)
    let clone = try await appliance.cloneCapsule("debian-12", to: "lab", generation: 1)
    #expect(clone.name == "lab" && clone.generation == 1 && clone.digest == first.description)
    #expect(clone.generations.first?.origin == "clone of debian-12:1")
    await #expect(throws: ApplianceError.self) {
      try await appliance.cloneCapsule("debian-12", to: "lab", generation: nil)
    }
    _ = try await appliance.deleteCapsule("debian-12")
    #expect(appliance.content.contains(first))
    #expect(try appliance.catalog.files(of: first).kernel.size > 0)
    try await appliance.close()
  }

  @Test("beyond capsules.keep go with their blobs; the one that boots, and what nodes run, stay")
  func keep() async throws {
    let appliance = try await makeAppliance(try TestDirectory()) { $0.capsules.keep = 2 }
    let first = try await register("1", in: appliance)
    let bound = try await appliance.ledger.bind(
      BootLedger.Request(mac: mac(1), address: IPv4Address(10, 0, 0, 21), phase: .script))
    #expect(bound.boot.digest == first)
    let second = try await register("2", in: appliance)
    _ = try await register("3", in: appliance)
    _ = try await register("4", in: appliance)
    let view = try appliance.capsule("debian-12")
    #expect(view.generations.map(\.generation) == [1, 3, 4])
    #expect(view.generations.map(\.running) == [1, 0, 0])
    #expect(appliance.content.contains(first))
    #expect(!appliance.content.contains(second))
    _ = try await appliance.rollBackCapsule("debian-12", to: 3)
    _ = try await register("5", in: appliance)
    _ = try await register("6", in: appliance)
    #expect(try appliance.capsule("debian-12").generations.map(\.generation) == [1, 5, 6])
    try await appliance.close()
  }

  @Test("are boots' own: what is deleted or rolled back meanwhile is delivered until the boot is over")
  func bootUnderWay() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    let digest = try await register("1", in: appliance)
    _ = try await register("1", as: "other", in: appliance)
    let start = Moment.now
    let request = BootLedger.Request(mac: mac(1), address: IPv4Address(10, 0, 0, 21), phase: .script)
    let boot = try await appliance.ledger.bind(request, now: start).boot
    let node = boot.node
    _ = try await appliance.setNodes([node], key: "vnfs", value: "other")
    do {
      _ = try await appliance.deleteCapsule("other")
      Issue.record("it is assigned")
    } catch let error as ApplianceError {
      #expect(error.code == .refused && error.message.contains(node))
    }
    _ = try await appliance.deleteCapsule("debian-12")
    _ = try await appliance.collect()
    let kernel = await appliance.nodeService.respond(to: .get("/b/\(boot.id)/kernel"))
    #expect(kernel.status == 200 && text(kernel).contains("debian-12 1"))
    let root = try appliance.catalog.files(of: digest).root.digest
    #expect(await appliance.nodeService.respond(to: .get("/blobs/sha256/\(root.hexadecimal)")).status == 200)
    // It boots again, from what it is assigned now; an hour later nobody can want the other any more.
    let later = start.adding(seconds: 4000)
    let next = try await appliance.ledger.bind(request, now: later).boot
    #expect(next.vnfs == "other" && next.id != boot.id)
    let collected = try await appliance.collect(now: later.adding(seconds: 1).time)
    #expect(collected.blobs > 0 && !collected.postponed)
    #expect(!appliance.content.contains(digest))
    try await appliance.close()
  }

  @Test("that are deleted while a node downloads them still come whole")
  func downloadInFlight() async throws {
    let directory = try TestDirectory()
    let appliance = try await makeAppliance(directory)
    let writer = try appliance.content.writer()
    let piece = [UInt8](repeating: 0xA5, count: 1 << 20)
    for _ in 0..<24 { try writer.write(piece) }
    let blob = try writer.commit(mediaType: MediaType.rootFileSystem)
    try await withServer(appliance.nodeService) { port in
      let socket = try RawConnection(port: port)
      try socket.send("GET /blobs/sha256/\(blob.digest.hexadecimal) HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
      let head = try await socket.readHead()
      #expect(head.contains("200"))
      _ = try await socket.read(1 << 16)
      let collected = try await appliance.collect()
      #expect(collected.blobs == 1)
      #expect(!appliance.content.contains(blob.digest))
      let rest = try await socket.read((24 << 20) - (1 << 16))
      #expect(rest.allSatisfy { $0 == 0xA5 })
    }
    try await appliance.close()
  }

  @Test("stay while somebody holds the store")
  func held() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    let digest = try makeCapsule("debian-12", in: appliance.content)
    do {
      let hold = try appliance.content.hold()
      #expect(try await appliance.collect().postponed)
      withExtendedLifetime(hold) {}
    }
    #expect(appliance.content.contains(digest))
    // A process that another test starts at this moment has the hold too, until it is what it is to be.
    let end = ContinuousClock.now + .seconds(120)
    while try await appliance.collect().postponed, ContinuousClock.now < end { await Task.yield() }
    #expect(!appliance.content.contains(digest))
    try await appliance.close()
  }
}
