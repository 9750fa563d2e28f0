import ArgumentParser
import FoundationEssentials
import Logging
import Provisioner

/// The way of a verb to the appliance: to the one that runs, or, where none does, to one opened in this
/// process under the lock.
struct Access {
  let connection: any AdminConnection

  /// Seconds that an appliance which has the lock may take until it answers on its socket.
  private static let patience = 10.0

  /// - Throws: `ConfigurationError`, `ApplianceError`, and what `body` throws.
  static func with<Value>(_ common: CommonOptions, _ body: (Access) async throws -> Value) async throws -> Value {
    let configuration = try common.configuration()
    let client = ControlSocketClient(path: configuration.paths.controlSocket)
    let logger = Logger(label: "perseid") { _ in StandardErrorLog(logLevel: .warning) }
    let start = ContinuousClock.now
    while true {
      if await client.isAnswering() { return try await body(Access(connection: client)) }
      do {
        let appliance = try await Appliance.open(configuration, purpose: "perseid, one command", logger: logger)
        let result: Result<Value, any Error>
        do {
          result = .success(try await body(Access(connection: LocalAdmin(appliance))))
        } catch {
          result = .failure(error)
        }
        try await appliance.close()
        return try result.get()
      } catch let error as ApplianceError where error.code == .busy {
        // An appliance that starts, or stops, or another verb: each is over soon.
        guard ContinuousClock.now - start < .seconds(patience) else { throw error }
        try await Task.sleep(for: .milliseconds(100))
      }
    }
  }

  /// The answer's JSON.
  /// - Throws: `ApplianceError` where the appliance says no.
  func json(_ request: AdminRequest) async throws -> [UInt8] {
    let answer = try await connection.send(request)
    if (200..<300).contains(answer.status) { return answer.body }
    throw answer.refusal(of: request)
  }

  func get<Value: Decodable>(_ request: AdminRequest) async throws -> Value {
    try Self.decode(try await json(request))
  }

  static func decode<Value: Decodable>(_ json: [UInt8]) throws -> Value {
    do {
      return try JSONDecoder().decode(Value.self, from: Data(json))
    } catch {
      throw ApplianceError(
        .failed,
        "The appliance's answer cannot be read: \(error). It may be of another version than this command: "
          + "restart it after an upgrade.")
    }
  }
}

/// A verb that asks once and shows the answer: as JSON, or for people.
protocol ShowingVerb: AsyncParsableCommand {
  associatedtype Answer: Decodable

  var common: CommonOptions { get }
  var output: OutputOptions { get }
  var request: AdminRequest { get throws }
  func text(_ answer: Answer) throws -> String
}

extension ShowingVerb {
  func run() async throws {
    let json = try await Access.with(common) { try await $0.json(try request) }
    if output.json {
      try show(String(decoding: json, as: UTF8.self) + "\n")
    } else {
      try show(try text(try Access.decode(json)))
    }
  }
}

/// A verb that shows a list of nodes: as JSON, or as a table that the appliance makes.
protocol TableVerb: AsyncParsableCommand {
  var common: CommonOptions { get }
  var output: OutputOptions { get }
  /// For JSON.
  var request: AdminRequest { get }
  /// For the table.
  var table: AdminRequest { get }
  /// What to say where the table is empty.
  static var words: String { get }
  static var rightAligned: Set<Int> { get }
}

extension TableVerb {
  static var rightAligned: Set<Int> { [] }

  func run() async throws {
    let json = try await Access.with(common) { try await $0.json(output.json ? request : table) }
    if output.json { return try show(String(decoding: json, as: UTF8.self) + "\n") }
    let answer: TableView = try Access.decode(json)
    if answer.rows.isEmpty { return try show(Self.words + "\n") }
    var shown = Table(answer.headings, rightAligned: Self.rightAligned)
    for row in answer.rows { shown.add(row) }
    try show(shown.text)
  }
}

extension AdminRequest {
  /// The `node=PATTERN` of a query.
  static func nodes(_ patterns: [String]) -> [(name: String, value: String)] {
    patterns.map { ("node", $0) }
  }

  init(_ method: Method, _ path: [String], json: some Encodable) throws {
    self.init(method, path, body: [UInt8](try JSONEncoder().encode(json)))
  }
}
