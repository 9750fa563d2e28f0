import CapsuleFormat
import Glibc
import StateClient

/// One connection of a `FramePipeline`: takes frames to fetch until all are there.
struct FetchThread: Sendable {
  let plan: FramePipeline
  let shared: Monitor<FramePipeline.Shared>
  /// From 0.
  let number: Int
  private let costs: [Int]

  init(plan: FramePipeline, shared: Monitor<FramePipeline.Shared>, number: Int) {
    self.plan = plan
    self.shared = shared
    self.number = number
    costs = plan.index.frames.map(plan.cost)
  }

  private var frames: [Frame] { plan.index.frames }
  private var target: String { StateClient.target(of: plan.blob.digest) }

  /// Fetches until the tree is complete or something has failed for good. A connection that fails comes back after a
  /// wait that grows, and others take its frames meanwhile: so there are as many as the way and the servers bear.
  func run() {
    var source = 0
    var connection = HTTPConnection(server: plan.servers[source], timeouts: plan.timeouts)
    var backoff = Backoff(first: plan.retrySeconds, longest: 15)
    while let claim = claim() {
      if claim.source != source {
        source = claim.source
        connection = HTTPConnection(server: plan.servers[source], timeouts: plan.timeouts)
      }
      var rest = claim.frames
      do {
        try fetch(&rest, from: source, over: &connection)
        backoff.reset()
      } catch {
        connection.close()
        if rest.lowerBound > claim.frames.lowerBound { backoff.reset() }
        guard let wait = failed(error, source: source, missing: rest, &backoff) else { return }
        if shared.wait(seconds: wait, for: { $0.isOver ? true : nil }) != nil { return }
      }
    }
  }

  private struct Claim {
    var frames: Range<Int>
    var source: Int
  }

  /// Waits for frames to fetch.
  /// - Returns: `nil` where there is nothing to do any more.
  private func claim() -> Claim? {
    let limit = plan.memoryLimit
    let share = max(1, limit / (2 * plan.connections))
    let claim = shared.wait { state -> Claim?? in
      if state.isOver { return .some(nil) }
      let frames = state.fetch.take(costs: costs, bytesInFlight: &state.bytesInFlight, limit: limit, share: share)
      guard let frames else { return nil }
      return .some(state.fetch.best(for: frames).map { Claim(frames: frames, source: $0) })
    }
    return claim.flatMap(\.self)
  }

  /// - Parameter missing: What was asked for and did not come.
  /// - Returns: Seconds to wait; `nil` where there is no use in going on.
  private func failed(_ error: any Error, source: Int, missing: Range<Int>, _ backoff: inout Backoff) -> Double? {
    let now = Clock.now
    let wait = backoff.next()
    let canRetry = Self.canRetry(error)
    return shared.update { state -> Double? in
      state.fetch.giveBack(missing)
      if state.isOver { return nil }
      let isFirst = state.fetch.failingSince == nil
      state.fetch.failed(source, at: now)
      if !canRetry { state.fetch.refused(source, error) }
      guard let next = state.fetch.best(for: missing), now - (state.fetch.failingSince ?? now) < plan.patience else {
        state.fail(error)
        return nil
      }
      let isOther = next != source
      // When an appliance is away, every connection to it fails: one of them tells.
      if isFirst || number == 0 || isOther {
        state.notes.append(
          "\(error); going on with frame \(missing.lowerBound + 1) of \(frames.count) "
            + (isOther ? "from \(plan.servers[next])" : "in \(Int(wait.rounded(.up))) s"))
      }
      return isOther ? 0 : wait
    }
  }

  /// Whether asking the same appliance again can bring another answer.
  private static func canRetry(_ error: any Error) -> Bool {
    guard let error = error as? HTTPError, case .status(let status) = error.kind else { return error is HTTPError }
    return status >= 500 || status == 408 || status == 429
  }

  /// - Parameter rest: The frames to fetch; what is left of them when it throws.
  private func fetch(_ rest: inout Range<Int>, from source: Int, over connection: inout HTTPConnection) throws {
    guard let last = rest.last else { return }
    let end = frames[last].offset + UInt64(frames[last].compressedLength)
    try begin(&connection, from: frames[rest.lowerBound].offset, to: end)
    while let number = rest.first {
      if shared.update({ $0.isOver }) {
        connection.close()
        return
      }
      let before = Clock.threadTime
      let count = Int(frames[number].compressedLength)
      let buffer = try shared.update { $0.spare.take(count: count) } ?? FrameBuffer(count: count)
      try connection.readExactly(into: buffer.bytes)
      let spent = Clock.threadTime - before
      shared.update { state in
        if plan.isPlain {
          state.fetch.arrived(from: source)
          state.ready[number] = buffer
        } else {
          state.fetched.append(FramePipeline.Fetched(number: number, bytes: buffer, source: source))
        }
        state.work.fetching += spent
      }
      rest = (number + 1)..<rest.upperBound
    }
  }

  /// Asks for a part of the blob, and checks that it is that part which comes.
  private func begin(
    _ connection: inout HTTPConnection, from start: UInt64, to end: UInt64
  ) throws(HTTPError) {
    let isWhole = start == 0 && end == plan.index.compressedLength
    let range = "\(start)-\(end - 1)"
    let head = try connection.begin(HTTPRequest("GET", target, fields: isWhole ? [:] : ["Range": "bytes=\(range)"]))
    let request = "GET http://\(connection.server)\(target)"
    let expected = isWhole ? 200 : 206
    guard head.status == expected else {
      throw HTTPError(
        .status(head.status), request: "\(request) (bytes \(range))", expected: "status \(expected)",
        came: "status \(head.status)")
    }
    if !isWhole {
      let field = head.value(of: "content-range") ?? "no Content-Range"
      guard field.hasPrefix("bytes \(range)/") else {
        throw HTTPError(.malformed, request: request, expected: "bytes \(range)", came: field)
      }
    }
  }
}
