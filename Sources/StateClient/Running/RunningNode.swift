package import CapsuleFormat
import Glibc
package import StateProtocol

/// Where a plan is followed in the running system: scripts and files, no root.
package struct RunningNode: PlanHost {
  package let destination = "/"
  package let workDirectory: String
  package let retrySeconds = 2.0
  private let record: NodeRecord
  private let state: String
  /// Outlives this plan: what cannot be sent now is sent with the next one.
  package private(set) var reporter: EventReporter
  /// The generation that it was brought to by this plan.
  package private(set) var generation: Digest?

  package init(
    record: NodeRecord, state: String, workDirectory: String = "/run/perseid/work",
    reporter: EventReporter = EventReporter()
  ) {
    self.workDirectory = workDirectory
    self.record = record
    self.state = state
    self.reporter = reporter
  }

  package func say(_ line: String) {
    Journal.say(line, .warning)
  }

  package func echo(_ bytes: UnsafeRawBufferPointer) {
    _ = write(1, bytes.baseAddress, bytes.count)
  }

  package mutating func report(_ event: StepEvent, through client: inout StateClient) {
    reporter.add(event)
    reporter.flush(header, through: &client)
  }

  /// Sends what could not be sent before.
  package mutating func flush(through client: inout StateClient) {
    reporter.flush(header, through: &client)
  }

  private var header: EventReport {
    EventReport(state: state, boot: record.boot, hardwareAddresses: record.hardwareAddresses, events: [])
  }

  package func fillRoot(_ step: Step, _ root: Step.Root, through client: inout StateClient) throws {
    throw PlanFailure(step: step.name, reason: "a running node does not fill its root: that is done in state 'init'")
  }

  /// The lease is kept by another thread.
  package func meanwhile() {}

  package func reap() {}

  package mutating func synchronised(with generation: Digest) { self.generation = generation }
}
