package import NetworkTypes

/// What happened on a node, as it happens: the body of `POST /v1/events`, one or several.
package struct EventReport: Hashable, Sendable, Codable {
  package var version = 1
  package var state: String
  package var boot: String?
  /// Every wired card, the one that booted first.
  package var hardwareAddresses: [MACAddress]
  package var events: [StepEvent]

  package init(state: String, boot: String?, hardwareAddresses: [MACAddress], events: [StepEvent]) {
    self.state = state
    self.boot = boot
    self.hardwareAddresses = hardwareAddresses
    self.events = events
  }

  /// Largest report that is read, in bytes.
  package static let sizeLimit = 256 << 10
}

/// One step begun, got on with, done or failed: of a plan, or of stage 1 itself (`address`, `hand-over`).
package struct StepEvent: Hashable, Sendable, Codable {
  package enum Outcome: String, Hashable, Sendable, Codable {
    case started
    case progress
    case done
    case failed
  }

  package var step: String
  package var outcome: Outcome
  /// Seconds the step took, where it is over.
  package var seconds: Double?
  /// A script's exit code; 128 and the signal where a signal ended it.
  package var exitCode: Int32?
  /// The last output of a script, at most `outputLimit` bytes; for a failure the reason and what comes next.
  package var detail: String?
  /// How far, in bytes, where that is known.
  package var completedBytes: Int64?
  package var totalBytes: Int64?

  package init(
    step: String, outcome: Outcome, seconds: Double? = nil, exitCode: Int32? = nil, detail: String? = nil,
    completedBytes: Int64? = nil, totalBytes: Int64? = nil
  ) {
    self.step = step
    self.outcome = outcome
    self.seconds = seconds
    self.exitCode = exitCode
    self.detail = detail
    self.completedBytes = completedBytes
    self.totalBytes = totalBytes
  }

  package static let outputLimit = 4096
}
