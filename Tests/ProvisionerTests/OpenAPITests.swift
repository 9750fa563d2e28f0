import Foundation
import NetworkTypes
import Testing

import struct Lab.Command

@testable import Provisioner

@Suite("The OpenAPI document", .timeLimit(.minutes(10)))
struct OpenAPITests {
  @Test(
    "says what every route takes and answers, and no request that can be made up of it is answered with a fault",
    .enabled(if: hasPython, "python3-jsonschema and python3-hypothesis are needed"))
  func realAnswers() async throws {
    try await withContent { port, token in
      let outcome = try await Self.run(["/usr/bin/python3", Self.script, "\(port)", token])
      #expect(outcome.status == 0, "\(outcome.output)")
      #expect(outcome.output.contains("every answer is one of the document's"))
    }
  }

  /// Where the tool is there; it is no package of the system.
  private static let tool = ProcessInfo.processInfo.environment["PERSEID_SCHEMATHESIS"]

  @Test("holds what schemathesis asks", .enabled(if: tool != nil, "PERSEID_SCHEMATHESIS names it"))
  func schemathesis() async throws {
    try await withContent { port, token in
      let url = "http://127.0.0.1:\(port)/api/v1/openapi.json"
      let outcome = try await Self.run([
        try #require(Self.tool), "run", url, "--header", "Authorization: Bearer \(token)", "--workers", "1",
        // Streams go on; what a valid body means is decided by what is there; who keeps asking without a token is
        // told to wait (429).
        "--exclude-path", "/events", "--exclude-path-regex", "trace$", "--exclude-method", "DELETE",
        "--exclude-checks", "positive_data_acceptance,ignored_auth", "--max-examples", "50",
        "--generation-deterministic",
      ])
      #expect(outcome.status == 0, "\(outcome.output)")
    }
  }

  private static let script = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "OpenAPI/check.py")
    .path

  private static let hasPython = ["jsonschema", "hypothesis"].allSatisfy {
    FileManager.default.fileExists(atPath: "/usr/lib/python3/dist-packages/" + $0)
  }

  /// An appliance with a few of everything.
  private func withContent(_ body: (_ port: Int, _ token: String) async throws -> Void) async throws {
    try await withPort { port, appliance, _ in
      let digest = try makeCapsule("debian-12", in: appliance.content)
      _ = try await appliance.registerCapsule("debian-12", digest: digest)
      for number in 1...3 {
        _ = try await appliance.addNode(AddNode(mac: mac(number).description, name: "n000\(number)", group: "gpu"))
      }
      _ = try await appliance.setNodes(["n0001"], key: "var.SITE", value: "here")
      _ = try await appliance.setGroup("gpu", key: "debug", value: "true")
      let first = appliance.nodeService
      let script = await first.respond(to: .get("/ipxe", ["mac": mac(1).description]))
      #expect(script.status == 200)
      let token = try await appliance.createToken(CreateToken(name: "tests", role: .admin)).token
      try await body(port, token)
    }
  }

  private static func run(_ arguments: [String]) async throws -> (status: Int32, output: String) {
    let result = try await Command(arguments).run(timeout: .seconds(500), outputLimit: 64 << 20)
    return (result.exitCode, result.output + result.errors)
  }
}
