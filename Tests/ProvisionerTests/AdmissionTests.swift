import CapsuleFormat
import Foundation
import NetworkTypes
import StateProtocol
import Testing

@testable import Provisioner

@Suite("Admission of nodes")
struct AdmissionTests {
  private let start = Moment(time: Timestamp(milliseconds: 1_000_000), uptime: 1000)

  @Test("lets so many in, keeps who is in, and lets the next in when one has its root or its time is over")
  func places() {
    let admission = Admission(limit: 2)
    #expect(admission.admit("n0", now: start) == nil)
    #expect(admission.admit("n1", now: start) == nil)
    #expect(admission.admit("n2", now: start) == 2)
    #expect(admission.admit("n0", now: start) == nil)
    admission.leave("n1")
    #expect(admission.admit("n2", now: start) == nil)
    #expect(admission.admit("n3", now: start) == 2)
    #expect(admission.admit("n3", now: start.adding(seconds: Admission.boundSeconds + 1)) == nil)
    let open = Admission(limit: 0)
    for number in 0..<100 { #expect(open.admit("n\(number)", now: start) == nil) }
  }

  @Test("is measured by the machine's own clock: a wall clock that jumps frees no place and holds none")
  func jumps() {
    func moment(after seconds: Double, jump: Double) -> Moment {
      Moment(time: start.time.adding(seconds: jump), uptime: start.uptime + seconds)
    }
    let admission = Admission(limit: 1)
    #expect(admission.admit("n0", now: start) == nil)
    #expect(admission.admit("n1", now: moment(after: 10, jump: 1e6)) == 1)
    #expect(admission.admit("n1", now: moment(after: Admission.boundSeconds + 1, jump: -1e6)) == nil)
    let correction = CapsuleCorrection()
    #expect(correction.isDue("n0", now: start))
    #expect(!correction.isDue("n0", now: moment(after: 10, jump: 1e6)))
    #expect(correction.isDue("n0", now: moment(after: CapsuleCorrection.boundSeconds + 1, jump: -1e6)))
  }

  private func plan(_ appliance: Appliance, _ state: String, _ boot: String?, _ card: MACAddress) async throws -> Plan {
    let response = await appliance.nodeService.respond(to: .post("/v1/state", try report(state, boot: boot, card)))
    #expect(response.status == 200, "\(text(response))")
    return try Plan.decode(bytes(response.body))
  }

  @Test("is told to the nodes that wait, until another is ready")
  func nodes() async throws {
    let appliance = try await makeAppliance(try TestDirectory()) { $0.provisioner.concurrentBoots = 1 }
    _ = try await appliance.registerCapsule("debian-12", digest: try makeCapsule("debian-12", in: appliance.content))
    let first = try await plan(appliance, "init", nil, mac(1))
    #expect(first.wait == nil && !first.steps.isEmpty)
    let second = try await plan(appliance, "init", nil, mac(2))
    #expect(second.wait?.reason.contains("concurrentBoots") == true && second.steps.isEmpty)
    _ = try await plan(appliance, "ready", first.boot, mac(1))
    #expect(try await plan(appliance, "init", second.boot, mac(2)).wait == nil)
    try await appliance.close()
  }

  @Test("a node in another capsule than the one assigned is sent through its firmware once, and then goes on")
  func correction() async throws {
    let appliance = try await makeAppliance(try TestDirectory())
    _ = try await appliance.registerCapsule("debian-12", digest: try makeCapsule("debian-12", in: appliance.content))
    let bound = try await appliance.ledger.bind(
      BootLedger.Request(mac: mac(1), address: IPv4Address(10, 0, 0, 21), phase: .script))
    #expect(try await plan(appliance, "init", bound.boot.id, mac(1)).restart == nil)
    _ = try await appliance.registerCapsule("debian-13", digest: try makeCapsule("debian-13", in: appliance.content))
    _ = try await appliance.setNodes(["n0000"], key: "vnfs", value: "debian-13")
    let plan = try await plan(appliance, "init", bound.boot.id, mac(1))
    #expect(plan.restart?.contains("debian-13 is assigned") == true)
    let next = try await self.plan(appliance, "init", bound.boot.id, mac(1))
    #expect(next.restart == nil && next.wait == nil && !next.steps.isEmpty)
    try await appliance.close()
  }
}
