import CapsuleFormat
import Foundation
import NetworkTypes
import Testing

@testable import Provisioner

@Suite("The admin API's routes", .timeLimit(.minutes(5)))
struct AdminRouteTests {
  @Test("are each described: what it does, what it takes, what it answers", arguments: AdminRoutes.all)
  func described(route: AdminRoute) {
    #expect(route.summary.hasSuffix(".") && route.summary.count > 10, "its summary is one sentence")
    for piece in route.pieces { #expect(AdminRoutes.pieces[piece]?.hasSuffix(".") == true, "{\(piece)}") }
    for parameter in route.query {
      #expect(parameter.words.hasSuffix("."), "the parameter \(parameter.name)")
      #expect(parameter.schema.unknownTypes.isEmpty, "the parameter \(parameter.name)")
    }
    #expect(route.body?.unknownTypes ?? [] == [], "give these a TextValue, or CaseIterable")
    switch route.reply {
    case .json(let schema): #expect(schema.unknownTypes == [], "give these a TextValue, or CaseIterable")
    case .stream(let type, let words): #expect(type.contains("/") && words.hasSuffix("."))
    }
    #expect(route.method == .get || route.role > .read, "who may only read changes nothing")
  }

  @Test("are each there once")
  func once() {
    let names = AdminRoutes.all.map { "\($0.method.rawValue) \($0.path)" }
    #expect(Set(names).count == names.count)
  }

  @Test("have schemas that the values themselves fit: every field, null where it may be")
  func values() throws {
    let node = NodeView(
      name: "n0000", mac: mac(1), macs: [mac(1)], guid: nil, clientid: nil, address: nil, fixedAddress: nil,
      group: "cluster", groups: ["cluster"], vnfs: "debian-12", enabled: true, boot: .ipxe, root: .ram, kernelArgs: "",
      description: "",
      debug: false, vars: ["A": "b"], created: .now, facts: nil, held: false)
    try fits([node])
    try fits(ChangeView(name: "n0000", key: "vnfs", before: nil, after: "rocky"))
    try fits(SummaryView(nodes: 1, enabled: 1, troubles: [], states: ["ready": 1], capsules: [:], groups: [:]))
    try fits(TimelineEvent(at: .now, source: .step, event: "50-root done", detail: "", seconds: 1.5))
    try fits(AddNode(mac: mac(1).description))
    try fits(RegisterCapsule(name: "a", digest: #require(Digest(bytes: [UInt8](repeating: 7, count: 32)))))
    try fits(AdminFailure(error: AdminFailure.Reason(code: .invalid, message: "no")))
    #expect(throws: ApplianceError.self) {
      try Schema(NodeView.self).check(["name": "n0000"])
    }
  }

  private func fits<Value: Codable>(_ value: Value) throws {
    let json = try JSONDecoder().decode(JSONValue.self, from: JSONEncoder().encode(value))
    try Schema(Value.self).check(json)
  }

  private static let refusals:
    [(method: AdminRequest.Method, path: String, body: String?, status: Int, words: String)] = [
      (.get, "nothing", nil, 404, "openapi.json"),
      (.put, "nodes", "{}", 405, "GET, POST, PATCH, DELETE"),
      (.post, "nodes", "", 400, "must be JSON"),
      (.post, "nodes", "{", 400, "must be JSON"),
      (.post, "nodes", "[]", 400, "found a list, where it must be an object with mac"),
      (.post, "nodes", #"{"mac":5}"#, 400, "mac: found 5, where it must be text"),
      (.post, "nodes", #"{"name":"a"}"#, 400, "mac: missing"),
      (.post, "nodes", #"{"mac":"52:54:00:00:00:01","colour":"blue"}"#, 400, "'colour': there is no such field"),
      (.post, "nodes", #"{"mac":"52:54:00:00:00:01","name":"a/../b"}"#, 400, "a host name"),
      (.post, "nodes", #"{"mac":"no"}"#, 400, "52:54:00:12:34:56"),
      (.patch, "nodes", #"{"nodes":[1],"key":"a","value":"b"}"#, 400, "nodes[0]: found 1"),
      (.patch, "nodes", #"{"nodes":[],"key":"debug","value":"true"}"#, 400, "No node was named"),
      (.patch, "nodes", #"{"nodes":["n[3-1]"],"key":"debug","value":"true"}"#, 400, "is not a pattern"),
      (.delete, "nodes", nil, 400, "No node was named"),
      (.get, "nodes?node=n%5B1", nil, 400, "without ']'"),
      (.get, "nodes?colour=blue", nil, 400, "no parameter 'colour' here; there are: node"),
      (.get, "nodes/n0000/trace?seconds=0", nil, 400, "seconds: found 0, where it must be a whole number from 1"),
      (.get, "nodes/n0000/trace?seconds=soon", nil, 400, "seconds: found 'soon'"),
      (.get, "nodes/n0000/trace?kept&kept", nil, 400, "found more than once"),
      (.get, "groups/..%2F..%2Fetc", nil, 400, "is no name"),
      (.get, "groups/%2e%2e", nil, 400, "is no name"),
      (.get, "groups/%ff", nil, 400, "is no name"),
      (.patch, "groups/a%20b", #"{"key":"debug","value":"true"}"#, 400, "not allowed"),
      (.post, "vnfs", #"{"name":"../../etc","digest":"sha256:x"}"#, 400, "digest: "),
      (.post, "nodes", String(repeating: "[", count: 100_000), 400, "must be JSON"),
      (.post, "nodes", "{\"mac\":\"" + String(repeating: "a", count: 2 << 20) + "\"}", 413, "larger than"),
    ]

  @Test("say what is wrong with a request, and what is allowed", arguments: refusals)
  func refusal(method: AdminRequest.Method, path: String, body: String?, status: Int, words: String) async throws {
    try await withAdmin { _, appliance in
      var arguments = ["-s", "-i", "--unix-socket", appliance.configuration.paths.controlSocket, "-X", method.rawValue]
      if let body {
        let file = appliance.configuration.paths.state + "/body.json"
        try Data(body.utf8).write(to: URL(filePath: file))
        arguments += ["--data-binary", "@" + file, "-H", "Content-Type: application/json", "-H", "Expect:"]
      }
      let answer = try await curl(arguments + ["--path-as-is", "http://appliance/api/v1/" + path])
      #expect(answer.head.hasPrefix("HTTP/1.1 \(status) "), "\(answer.head)")
      #expect(answer.field("Content-Type") == "application/json")
      let failure = try JSONDecoder().decode(AdminFailure.self, from: answer.body)
      #expect(failure.error.message.contains(words), "\(failure.error.message)")
    }
  }
}
