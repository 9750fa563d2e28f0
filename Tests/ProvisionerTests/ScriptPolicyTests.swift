import StateProtocol
import Testing

@testable import Provisioner

@Suite("What a nodescript says of itself")
struct ScriptPolicyTests {
  @Test("in its head: what to do when it fails, how often it is tried again, how long it may take")
  func read() throws {
    let text = "#!/bin/sh\n# Partitions the disk.\n# perseid: on-failure=retry retries=3\n# perseid: timeout=300\n"
    let policy = try ScriptPolicy(of: Array(text.utf8), name: "10-x")
    #expect(policy.onFailure == .retry && policy.retries == 3 && policy.timeoutSeconds == 300)
    #expect(try ScriptPolicy(of: Array("# perseid: on-failure=stop\n".utf8), name: "x").onFailure == .stop)
    #expect(try ScriptPolicy(of: Array("# perseid: on-failure=go-on\n".utf8), name: "x").onFailure == .goOn)
    let plain = try ScriptPolicy(of: Array("echo # perseid: nonsense\n\n\u{0}\u{FF}".utf8), name: "x")
    #expect(plain == ScriptPolicy() && plain.onFailure == .goOn && plain.timeoutSeconds == 1800)
    let late = String(repeating: "\n", count: 40) + "# perseid: on-failure=stop\n"
    #expect(try ScriptPolicy(of: Array(late.utf8), name: "x") == ScriptPolicy())
  }

  @Test(
    "and is refused with its line where that cannot be",
    arguments: [
      ("#!/bin/sh\n# perseid: on-failure=panic\n", "line 2: on-failure: found 'panic', allowed is go-on, retry, stop"),
      ("# perseid: timeout=0\n", "allowed is seconds from 1 to 86400"),
      ("# perseid: on-failure=retry retries=many\n", "retries: found 'many'"),
      ("# perseid: retries=3\n", "without on-failure=retry"),
      ("# perseid: colour=red\n", "found 'colour=red'"),
    ])
  func refused(text: String, words: String) throws {
    let error = try #require(throws: ApplianceError.self) {
      _ = try ScriptPolicy(of: Array(text.utf8), name: "/n/10-x")
    }
    #expect(error.message.contains(words) && error.message.contains("/n/10-x"), "\(error)")
  }

  @Test("The plan of a node states it with each step")
  func inPlan() async throws {
    let directory = try TestDirectory()
    let appliance = try await makeAppliance(directory)
    _ = try await appliance.registerCapsule("debian-12", digest: try makeCapsule("debian-12", in: appliance.content))
    try directory.write("# perseid: on-failure=retry retries=5 timeout=60\n", to: "state/nodescripts/init/all/10-a")
    try directory.write(
      "# perseid: on-failure=stop\necho echo hi\n", to: "state/nodescripts/init/all/20-b.server")
    let response = await appliance.nodeService.respond(to: .post("/v1/state", try report("init", boot: nil, mac(1))))
    let plan = try Plan.decode(bytes(response.body))
    #expect(plan.steps.prefix(2).map(\.onFailure) == [.retry, .stop])
    #expect(plan.steps.prefix(2).map(\.retries) == [5, nil])
    #expect(plan.steps.prefix(2).map(\.timeoutSeconds) == [60, 1800])
    try directory.write("# perseid: wrong\n", to: "state/nodescripts/init/all/10-a")
    let again = await appliance.nodeService.respond(to: .post("/v1/state", try report("init", boot: nil, mac(1))))
    let reason = try Plan.decode(bytes(again.body)).wait?.reason
    #expect(reason?.contains("10-a, line 1") == true)
    try await appliance.close()
  }
}
