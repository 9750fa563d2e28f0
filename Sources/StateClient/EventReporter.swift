package import StateProtocol

/// Sends what happens to the appliance, and keeps it while the appliance is away.
///
/// A report is never worth stopping for: after a failure it is tried again with back-off, and what
/// does not fit into the buffer is dropped, progress first.
package struct EventReporter {
  private var pending: [StepEvent] = []
  private var backoff = Backoff(first: 1, longest: 30)
  private var notBefore = 0.0

  /// Events kept at most.
  package static let capacity = 256
  /// Events of one report: with output each has at most about 8 KiB of JSON.
  private static let batch = 24

  package init() {}

  /// Events that are not sent yet.
  package var backlog: [StepEvent] { pending }

  /// Keeps an event until it is sent.
  package mutating func add(_ event: StepEvent) {
    var event = event
    if let detail = event.detail { event.detail = Self.last(StepEvent.outputLimit, of: detail) }
    // Of a step's progress only the newest counts, unless something is said with it.
    if event.outcome == .progress {
      pending.removeAll { $0.step == event.step && $0.outcome == .progress && $0.detail == nil }
    }
    pending.append(event)
    if pending.count > Self.capacity {
      pending.remove(at: pending.firstIndex { $0.outcome == .progress } ?? 0)
    }
  }

  /// Sends what is kept, unless the last failure is too recent.
  /// - Parameter header: The report without its events.
  /// - Returns: Why it could not be sent.
  @discardableResult
  package mutating func flush(_ header: EventReport, through client: inout StateClient) -> StateClientError? {
    guard Clock.now >= notBefore else { return nil }
    while !pending.isEmpty {
      var report = header
      report.events = Array(pending.prefix(Self.batch))
      do throws(StateClientError) {
        try client.post(report)
        pending.removeFirst(report.events.count)
        backoff.reset()
      } catch {
        // An appliance that refuses these events would refuse them for ever.
        if case .http(let http) = error, case .status(400..<500) = http.kind {
          pending.removeFirst(report.events.count)
        }
        notBefore = Clock.now + backoff.next()
        return error
      }
    }
    return nil
  }

  /// The end of a text, at most so many bytes of UTF-8.
  package static func last(_ limit: Int, of text: String) -> String {
    guard text.utf8.count > limit else { return text }
    return String(decoding: Array(text.utf8.suffix(limit).drop { $0 & 0xC0 == 0x80 }), as: UTF8.self)
  }
}
