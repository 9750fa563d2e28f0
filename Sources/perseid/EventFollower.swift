import Provisioner

/// The events of a running appliance, and of the one that is started after it, until the task is cancelled.
struct EventFollower {
  /// What comes in.
  enum Item {
    /// The JSON of one event.
    case event([UInt8])
    /// The appliance answers, for the first time or again.
    case there
    /// It has stopped, and is waited for.
    case away
    /// Events that happened and will not come; `nil` where nobody knows how many.
    case lost(Int?)
  }

  private let connection: any AdminConnection
  private var request: AdminRequest

  /// Between looks whether the appliance is there again.
  private static let pause = Duration.seconds(1)

  init(_ connection: any AdminConnection, _ request: AdminRequest) {
    self.connection = connection
    self.request = request
  }

  /// - Throws: `ApplianceError` where there is no appliance at the beginning, or it says no.
  mutating func follow(_ take: (Item) throws -> Void) async throws {
    var isFirst = true
    while true {
      var lines = EventLines()
      var hasBegun = false
      do {
        try await connection.stream(request) { piece in
          if !hasBegun { try take(.there) }
          hasBegun = true
          for item in try lines.take(piece) { try take(item) }
        }
      } catch let error as ApplianceError where error.code == .failed && (hasBegun || !isFirst) {
        // It was there before, and has stopped.
      } catch is ControlSocketClient.NotRunning where !isFirst {
        // It is not there yet.
      }
      try Task.checkCancellation()
      request.lastEventID = lines.lastID ?? request.lastEventID
      if hasBegun { try take(.away) }
      isFirst = false
      try await Task.sleep(for: Self.pause)
    }
  }
}

/// Takes server-sent events apart (HTML standard, section 9.2).
struct EventLines {
  private var rest: [UInt8] = []
  private var isLoss = false
  /// To go on from.
  private(set) var lastID: String?
  /// Longest line that is kept, in bytes.
  private static let limit = 1 << 20

  private struct Loss: Decodable {
    var lost: Int?
  }

  mutating func take(_ piece: [UInt8]) throws -> [EventFollower.Item] {
    rest += piece
    guard rest.count <= Self.limit else { throw ApplianceError(.failed, "The appliance sends lines without an end.") }
    var found: [EventFollower.Item] = []
    var lines = rest.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    rest = lines.popLast().map(Array.init) ?? []
    for line in lines {
      if line.isEmpty { isLoss = false }
      if line.starts(with: "event: lost".utf8) { isLoss = true }
      if line.starts(with: "id: ".utf8) { lastID = String(decoding: line.dropFirst(4), as: UTF8.self) }
      guard line.starts(with: "data: ".utf8) else { continue }
      let data = Array(line.dropFirst(6))
      if isLoss {
        let loss: Loss = try Access.decode(data)
        found.append(.lost(loss.lost))
      } else {
        found.append(.event(data))
      }
    }
    return found
  }
}
