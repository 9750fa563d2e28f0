import Foundation
import Logging
import NetworkTypes
import Synchronization
import Testing

@testable import Provisioner

@Suite("The admin API over TCP", .timeLimit(.minutes(5)))
struct AdminPortTests {
  @Test("answers who has a token, and only what its role allows")
  func roles() async throws {
    try await withPort { port, appliance, _ in
      let url = "http://127.0.0.1:\(port)/api/v1/"
      var tokens: [AdminRole: String] = [:]
      for role in AdminRole.allCases {
        tokens[role] = try await appliance.createToken(CreateToken(name: role.rawValue, role: role)).token
      }
      for role in AdminRole.allCases {
        let bearer = ["-H", "Authorization: Bearer \(tokens[role] ?? "")", "-s", "-i"]
        func status(_ path: String, _ method: String = "GET", _ body: String? = nil) async throws -> Int {
          let data = body.map { ["-d", $0, "-H", "Content-Type: application/json"] } ?? []
          let answer = try await curl(bearer + data + ["-X", method, url + path])
          if answer.status >= 400 { _ = try JSONDecoder().decode(AdminFailure.self, from: answer.body) }
          return answer.status
        }
        #expect(try await status("info") == 200)
        let card = mac(AdminRole.allCases.firstIndex(of: role) ?? 0)
        #expect(try await status("nodes", "POST", #"{"mac":"\#(card)"}"#) == (role >= .operate ? 200 : 403))
        #expect(try await status("tokens") == (role == .admin ? 200 : 403))
        #expect(try await status("nodes?node=nothing", "DELETE") == (role == .admin ? 404 : 403))
      }
    }
  }

  @Test("refuses who has none, an unknown, an expired or a deleted one, and says so without the token")
  func refusals() async throws {
    try await withPort { port, appliance, lines in
      let url = "http://127.0.0.1:\(port)/api/v1/info"
      let expired = try await appliance.createToken(
        CreateToken(name: "old", role: .admin, expires: Timestamp(milliseconds: 2000)), now: Timestamp(milliseconds: 1))
      let deleted = try await appliance.createToken(CreateToken(name: "gone", role: .admin))
      _ = try await appliance.deleteToken("gone")
      let fields = [
        nil, "Bearer", "Bearer perseid_0", "Basic \(deleted.token)", "Bearer \(deleted.token)",
        "Bearer \(expired.token)", "Bearer \(String(repeating: "a", count: 2000))",
      ]
      for field in fields {
        let answer = try await curl(["-s", "-i"] + (field.map { ["-H", "Authorization: \($0)"] } ?? []) + [url])
        #expect(answer.status == 401)
        #expect(answer.field("WWW-Authenticate") == "Bearer")
        let failure = try JSONDecoder().decode(AdminFailure.self, from: answer.body)
        #expect(failure.error.code == .unauthorized && failure.error.message.contains("token create"))
        #expect(!answer.text.contains(deleted.token) && !answer.text.contains(expired.token))
      }
      #expect(lines.all.contains { $0.contains("from 127.0.0.1 was refused") })
      #expect(!lines.all.contains { $0.contains("perseid_") })
    }
  }

  @Test("tells who keeps guessing to wait, writes two lines of it, and still answers who has a token")
  func guessing() async throws {
    try await withPort { port, appliance, lines in
      let token = try await appliance.createToken(CreateToken(name: "good", role: .read)).token
      let url = "http://127.0.0.1:\(port)/api/v1/info"
      // A minute may end meanwhile: then the counting begins anew.
      let urls = [[String]](repeating: ["-o", "/dev/null", url], count: 3 * FailedAttempts.limit).flatMap(\.self)
      let answers = try await curl(["-s", "-H", "Authorization: Bearer perseid_1", "-w", "%{http_code}\n"] + urls)
      let statuses = Set(answers.text.split(separator: "\n").map(String.init))
      #expect(statuses.isSubset(of: ["401", "429"]) && statuses.contains("429"))
      #expect(lines.all.count { $0.contains("refused") } <= 2 * 2)
      #expect(try await curl("-s", "-i", "-H", "Authorization: Bearer \(token)", url).status == 200)
    }
  }

  @Test("keeps of a token its digest alone")
  func storage() async throws {
    let directory = try TestDirectory()
    let appliance = try await makeAppliance(directory)
    let token = try await appliance.createToken(CreateToken(name: "a", role: .operate)).token
    #expect(token.hasPrefix("perseid_") && token.count == 72)
    #expect(appliance.token(token)?.role == .operate)
    #expect(appliance.token(String(token.dropLast())) == nil)
    let error = await #expect(throws: ApplianceError.self) {
      _ = try await appliance.createToken(CreateToken(name: "a", role: .read))
    }
    #expect(error?.code == .conflict)
    await #expect(throws: ApplianceError.self) {
      try await appliance.createToken(CreateToken(name: "a/b", role: .read))
    }
    await #expect(throws: ApplianceError.self) {
      try await appliance.createToken(CreateToken(name: "b", role: .read, expires: Timestamp(milliseconds: 0)))
    }
    try await appliance.close()
    let again = try await makeAppliance(directory)
    #expect(again.token(token)?.name == "a")
    #expect(again.tokens().map(\.name) == ["a"])
    try await again.close()
    for file in try FileManager.default.contentsOfDirectory(atPath: directory.path + "/state") {
      let data = try? Data(contentsOf: URL(filePath: directory.path + "/state/" + file))
      #expect(data?.firstRange(of: Data(token.utf8)) == nil, "\(file)")
    }
  }

  @Test("is off where no port is set")
  func off() async throws {
    try await withAdmin { _, appliance in
      #expect(AdminServer(appliance: appliance, logger: silent).parts == 1)
    }
  }

  @Test("closes a connection whose request never comes whole")
  func slowRequest() async throws {
    var limits = AdminServer.Limits()
    limits.idleSeconds = 1
    try await withPort(limits) { port, _, _ in
      for start in [
        "", "GET /api/v1/info HTTP/1.1\r\n", "POST /api/v1/nodes HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{",
      ] {
        let connection = try RawConnection(port: port)
        try connection.send(start)
        _ = try await connection.readToEnd()
      }
    }
  }
}

extension CurlAnswer {
  /// With `-i`.
  var status: Int { Int(head.split(separator: " ").dropFirst().first ?? "") ?? 0 }
}

/// Log lines of the test's own server.
final class LogLines: LogHandler, @unchecked Sendable {
  // Proved by the Mutex: everything else never changes.
  private let lines = Mutex<[String]>([])
  var metadata: Logger.Metadata {
    get { [:] }
    set {}
  }
  var logLevel: Logger.Level {
    get { .trace }
    set {}
  }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { nil }
    set {}
  }

  func log(event: LogEvent) { lines.withLock { $0.append("\(event.message)") } }

  var all: [String] { lines.withLock { $0 } }
}

/// Runs the admin API of an appliance on a port of loopback too.
func withPort(
  _ limits: AdminServer.Limits = .init(), _ body: (Int, Appliance, LogLines) async throws -> Void
) async throws {
  let port = try freePort()
  let lines = LogLines()
  let logger = Logger(label: "test") { _ in lines }
  func listening(_ configuration: inout Configuration) { configuration.admin.port = port }
  try await withAdmin(limits: limits, logger: logger, adjust: listening) { _, appliance in
    try await body(port, appliance, lines)
  }
}

/// A TCP port of loopback that nobody had a moment ago.
private func freePort() throws -> Int {
  let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
  defer { close(descriptor) }
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
  var length = socklen_t(MemoryLayout<sockaddr_in>.size)
  let status = withUnsafeMutablePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      bind(descriptor, $0, length) == 0 ? getsockname(descriptor, $0, &length) : -1
    }
  }
  try #require(status == 0)
  return Int(UInt16(bigEndian: address.sin_port))
}
