import CapsuleFormat
import Foundation
import Logging
import NetworkTypes
import ServiceLifecycle
import Testing

@testable import Provisioner

@Suite("The admin API", .timeLimit(.minutes(5)))
struct AdminServerTests {
  @Test("adds, lists, sets and deletes nodes over the control socket")
  func nodes() async throws {
    try await withAdmin { client, appliance in
      let added: NodeView = try await client.json(
        AdminRequest(.post, ["nodes"], body: encoded(AddNode(mac: mac(1).description, name: "n0001"))))
      #expect(added.name == "n0001")
      #expect(added.mac == mac(1))
      let changes: [ChangeView] = try await client.json(
        AdminRequest(.patch, ["nodes"], body: encoded(SetNodes(nodes: ["n*"], key: "kernelArgs", value: "quiet"))))
      #expect(changes.map(\.after) == ["quiet"])
      let missing = try await client.send(AdminRequest(.get, ["nodes"], query: [("node", "n00[00-02]")]))
      #expect(missing.status == 404)
      let all: [NodeView] = try await client.json(AdminRequest(.get, ["nodes"], query: [("node", "n000[1-1]")]))
      #expect(all.map(\.kernelArgs) == ["quiet"])
      let status: [NodeStatusView] = try await client.json(AdminRequest(.get, ["status"]))
      #expect(status.map(\.state) == ["unknown"])
      let deleted: [NodeView] = try await client.json(AdminRequest(.delete, ["nodes"], query: [("node", "n0001")]))
      #expect(deleted.map(\.name) == ["n0001"])
      #expect(try appliance.nodes([]).isEmpty)
    }
  }

  @Test("carries a refusal with its code and its words")
  func refusal() async throws {
    try await withAdmin { client, _ in
      let missing = try await client.send(AdminRequest(.get, ["nodes", "no such", "why"]))
      #expect(missing.status == 404)
      let failure = try JSONDecoder().decode(AdminFailure.self, from: Data(missing.body))
      #expect(failure.error.code == .notFound)
      #expect(failure.error.message.contains("'no such'"))
      let unreadable = try await client.send(AdminRequest(.post, ["nodes"], body: Array("{".utf8)))
      #expect(unreadable.status == 400)
      let conflict = try AdminRequest(.post, ["nodes"], body: encoded(AddNode(mac: mac(1).description)))
      #expect(try await client.send(conflict).status == 200)
      #expect(try await client.send(conflict).status == 409)
      let unknown = try await client.send(AdminRequest(.get, ["nothing"]))
      #expect(unknown.status == 404)
    }
  }

  @Test("registers a capsule whose blobs are in the store, and shows it")
  func capsules() async throws {
    try await withAdmin { client, appliance in
      let digest = try makeCapsule("debian-12", in: appliance.content)
      let registered: CapsuleView = try await client.json(
        AdminRequest(.post, ["vnfs"], body: encoded(RegisterCapsule(name: "debian-12", digest: digest))))
      #expect(registered.generation == 1)
      let shown: CapsuleView = try await client.json(AdminRequest(.get, ["vnfs", "debian-12"]))
      #expect(shown.digest == digest.description)
      let json = try #require(
        JSONSerialization.jsonObject(with: Data(try await client.send(AdminRequest(.get, ["vnfs", "debian-12"])).body))
          as? [String: Any])
      #expect(json["mountPath"] is NSNull, "a script finds every key of the contract, empty ones too")
    }
  }

  @Test("streams what happens, while it happens")
  func watch() async throws {
    try await withAdmin { client, appliance in
      let event = TimelineEvent(
        at: .now, source: .http, event: "script", detail: "made\nfor it", node: "n0001", mac: mac(1))
      var received = ""
      await #expect(throws: Enough.self) {
        try await client.stream(AdminRequest(.get, ["events"], query: [("node", "n0001")])) { piece in
          let isFirst = received.isEmpty
          received += String(decoding: piece, as: UTF8.self)
          if isFirst {
            appliance.timeline.record(TimelineEvent(at: .now, source: .dhcp, event: "other", detail: "", node: "n0002"))
            appliance.timeline.record(event)
          }
          if received.contains("script") && received.hasSuffix("\n\n") { throw Enough() }
        }
      }
      let line = try #require(received.split(separator: "\n").first { $0.hasPrefix("data: ") })
      #expect(try JSONDecoder().decode(TimelineEvent.self, from: Data(line.dropFirst(6).utf8)) == event)
      #expect(!received.contains("other"))
    }
  }

  @Test("gives the same bytes to a verb that works in its own process")
  func local() async throws {
    try await withAdmin { client, appliance in
      let local = LocalAdmin(appliance)
      let add = try AdminRequest(.post, ["nodes"], body: encoded(AddNode(mac: mac(7).description, name: "n0007")))
      #expect(try await local.send(add).status == 200)
      let paths = [
        ["nodes"], ["status"], ["summary", "nodes"], ["groups"], ["groups", "none"], ["nodes", "n0007", "why"],
      ]
      for path in paths {
        let here = try await local.send(AdminRequest(.get, path))
        let there = try await client.send(AdminRequest(.get, path))
        #expect(here.status == there.status)
        #expect(here.body == there.body)
      }
    }
  }

  @Test("keeps the socket to owner and group, and replaces one that a killed appliance left")
  func socketFile() async throws {
    let directory = try TestDirectory()
    try directory.write("", to: "state/control.sock.made")
    let stale = directory.path + "/state/control.sock"
    try makeStaleSocket(stale)
    try await withAdmin(directory) { client, _ in
      let info: InfoView = try await client.json(AdminRequest(.get, ["info"]))
      #expect(info.nodes == 0)
      let attributes = try FileManager.default.attributesOfItem(atPath: stale)
      #expect(attributes[.posixPermissions] as? Int == 0o660)
    }
    #expect(!FileManager.default.fileExists(atPath: stale))
  }

  @Test("says that nobody listens where no appliance runs")
  func notRunning() async throws {
    let directory = try TestDirectory()
    let client = ControlSocketClient(path: directory.path + "/control.sock")
    await #expect(throws: ControlSocketClient.NotRunning.self) { try await client.send(AdminRequest(.get, ["info"])) }
    try makeStaleSocket(directory.path + "/control.sock")
    await #expect(throws: ControlSocketClient.NotRunning.self) { try await client.send(AdminRequest(.get, ["info"])) }
    #expect(await client.isAnswering() == false)
  }

  @Test("names the remedy for an appliance that takes the request and says nothing")
  func stuckAppliance() async throws {
    let path = try TestDirectory().path + "/control.sock"
    let listening = try listen(path)
    defer { close(listening) }
    let client = ControlSocketClient(path: path, silenceSeconds: 1)
    let error = await #expect(throws: ApplianceError.self) { try await client.send(AdminRequest(.get, ["info"])) }
    #expect(error?.message.contains("did not answer") == true)
  }
}

private struct Enough: Error {}

private func encoded(_ value: some Encodable) throws -> [UInt8] {
  [UInt8](try JSONEncoder().encode(value))
}

extension ControlSocketClient {
  fileprivate func json<Value: Decodable>(_ request: AdminRequest) async throws -> Value {
    let answer = try await send(request)
    try #require(answer.status == 200, "\(String(decoding: answer.body, as: UTF8.self))")
    return try JSONDecoder().decode(Value.self, from: Data(answer.body))
  }
}

/// Runs the admin API of an appliance on its control socket while `body` runs, then stops it gracefully.
func withAdmin(
  _ directory: TestDirectory? = nil, limits: AdminServer.Limits = .init(), logger: Logger = silent,
  adjust: (inout Configuration) -> Void = { _ in }, body: (ControlSocketClient, Appliance) async throws -> Void
) async throws {
  let appliance = try await makeAppliance(directory ?? TestDirectory(), adjust)
  let (ready, continuation) = AsyncStream.makeStream(of: Void.self)
  let server = AdminServer(appliance: appliance, limits: limits, logger: logger) { continuation.yield() }
  let services = ServiceGroup(services: [server], logger: silent)
  try await withThrowingTaskGroup { tasks in
    tasks.addTask {
      defer { continuation.finish() }
      try await services.run()
    }
    var iterator = ready.makeAsyncIterator()
    for _ in 0..<server.parts { await iterator.next() }
    let client = ControlSocketClient(path: appliance.configuration.paths.controlSocket)
    let result: Result<Void, any Error>
    do { result = .success(try await body(client, appliance)) } catch { result = .failure(error) }
    await services.triggerGracefulShutdown()
    try await tasks.waitForAll()
    try result.get()
  }
  try await appliance.close()
}

/// A socket's file behind which nobody listens.
private func makeStaleSocket(_ path: String) throws {
  close(try listen(path))
}

private func listen(_ path: String) throws -> Int32 {
  let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
  var address = sockaddr_un()
  address.sun_family = sa_family_t(AF_UNIX)
  try #require(path.utf8.count < MemoryLayout.size(ofValue: address.sun_path))
  withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
  let bound = withUnsafePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
    }
  }
  try #require(bound == 0)
  try #require(Glibc.listen(descriptor, 8) == 0)
  return descriptor
}
