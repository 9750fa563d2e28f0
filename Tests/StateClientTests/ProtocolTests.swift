import CapsuleFormat
import NetworkTypes
import StateClient
import StateProtocol
import Testing

@Suite("The state protocol")
struct ProtocolTests {
  @Test("ignores fields it does not know, at every level")
  func ignoresUnknownFields() throws {
    let digest = Digest.ofContent([1])
    let text = """
      {"version":1,"state":"ready","nodeName":"n0001","environment":{},"later":{"a":[1,2]},
       "steps":[{"name":"10-a","kind":"script","level":"all","length":3,"digest":"\(digest)","onFailure":"stop",
                 "parallel":true}]}
      """
    let plan = try Plan.decode(Array(text.utf8))
    #expect(plan.steps.map(\.name) == ["10-a"])
    #expect(plan.steps[0].digest == digest)
    let record = """
      {"version":9,"server":"10.0.0.1","port":9870,"nodeName":"n1","hardwareAddresses":["52:54:00:00:00:01"],
       "interface":"eth0","nextState":"ready","colour":"red"}
      """
    #expect(try ProtocolJSON.decode(NodeRecord.self, from: Array(record.utf8), limit: 4096).boot == nil)
  }

  @Test("keeps a step of a kind that a later version may have, and finds it before anything runs")
  func findsUnknownKinds() throws {
    let step = Step(
      name: "20-x", kind: .unknown("hologram"), level: "all", length: 0, digest: Digest.ofContent([]),
      onFailure: .goOn)
    let plan = Plan(state: "init", boot: nil, nodeName: "n", environment: [:], steps: [step])
    let again = try Plan.decode(try ProtocolJSON.encode(plan))
    #expect(again == plan)
    #expect(PlanCheck.fault(in: again)?.contains("hologram") == true)
  }

  @Test("writes sorted keys: equal values are equal bytes")
  func sortsKeys() throws {
    let bytes = try ProtocolJSON.encode(["b": "x/y", "a": "1"])
    #expect(String(decoding: bytes, as: UTF8.self) == #"{"a":"1","b":"x/y"}"#)
  }

  @Test("looks at the size before it parses")
  func capsSize() {
    let bytes = [UInt8](repeating: UInt8(ascii: "["), count: StateReport.sizeLimit + 1)
    #expect(throws: ProtocolJSON.Failure.tooLarge(bytes: bytes.count, limit: StateReport.sizeLimit)) {
      try StateReport.decode(bytes)
    }
    #expect(throws: ProtocolJSON.Failure.self) { try Plan.decode(Array(#"{"version":1}"#.utf8)) }
  }

  @Test("reads and writes Content-Digest as RFC 9530 has it")
  func contentDigest() throws {
    // The example of RFC 9530, appendix A: {"hello": "world"} and a line feed.
    let digest = Digest.ofContent(Array("{\"hello\": \"world\"}\n".utf8))
    let value = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"
    #expect(ContentDigest.fieldValue(digest) == value)
    #expect(ContentDigest.digest(inFieldValue: value) == digest)
    #expect(ContentDigest.digest(inFieldValue: "sha-512=:AAAA:, \(value)") == digest)
    for wrong in ["", "sha-256=RK/0", "sha-256=:RK/0:", "sha-256=:" + String(repeating: "=", count: 44) + ":"] {
      #expect(ContentDigest.digest(inFieldValue: wrong) == nil)
    }
  }

  @Test(
    "finds what a plan must not ask for",
    arguments: ["../etc", "", "a/b", ".."])
  func refusesNames(name: String) {
    let step = Step(
      name: name, kind: .script, level: "all", length: 1, digest: Digest.ofContent([]), onFailure: .stop)
    #expect(
      PlanCheck.fault(in: Plan(state: "s", boot: nil, nodeName: "n", environment: [:], steps: [step])) != nil)
  }

  @Test("finds paths and variables that lead astray")
  func refusesPaths() {
    for path in ["relative", "/a/../b", "/dir/", nil] {
      let step = Step(
        name: "10-f", kind: .file, level: "all", length: 1, digest: Digest.ofContent([]), onFailure: .stop, path: path)
      #expect(
        PlanCheck.fault(in: Plan(state: "s", boot: nil, nodeName: "n", environment: [:], steps: [step])) != nil)
    }
    for name in ["", "1A", "A=B", "LD PRELOAD"] {
      let plan = Plan(state: "s", boot: nil, nodeName: "n", environment: [name: "x"], steps: [])
      #expect(PlanCheck.fault(in: plan) != nil)
    }
  }
}
