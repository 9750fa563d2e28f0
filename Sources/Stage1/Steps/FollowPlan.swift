import CapsuleFormat
import Glibc
import StateClient
import StateProtocol

/// Follows the plan of state `init`.
enum FollowPlan {
  static func run(_ boot: Boot) throws {
    guard let plan = boot.plan else { throw StepFailure(what: "there is no plan yet", canRetry: true) }
    guard plan.steps.contains(where: { $0.kind == .root }) else {
      throw StepFailure(
        what: "the plan for \(plan.nodeName) has no step that fills the root; assign it a capsule", canRetry: true)
    }
    for step in plan.steps {
      boot.debug("\(step.name) of \(step.level): \(step.kind.text), \(step.length) bytes, \(step.digest)", level: 3)
    }
    for (name, value) in plan.environment.sorted(by: { $0.key < $1.key }) { boot.debug("\(name)=\(value)", level: 3) }
    if plan.steps.contains(where: { $0.kind == .script }) { Shell.installApplets() }
    // What an earlier try filled is gone: scripts before the root find the same as the first time.
    while umount2(boot.newRoot, CInt(MNT_DETACH)) == 0 {}
    var runner = PlanRunner(host: Stage1Host(boot: boot))
    try boot.withClient { client in try runner.follow(plan, through: &client) }
  }
}

/// Where a plan is followed in stage 1: the root is filled, and scripts run beside it.
struct Stage1Host: PlanHost {
  let boot: Boot
  var destination: String { boot.newRoot }
  let workDirectory = "/run/perseid/work"
  let retrySeconds = 2.0

  func say(_ line: String) { boot.say(line) }

  func echo(_ bytes: UnsafeRawBufferPointer) { boot.console.echo(bytes) }

  func report(_ event: StepEvent, through client: inout StateClient) {
    boot.keepLease()
    if event.outcome == .done, let seconds = event.seconds {
      boot.say("step \(event.step) done in \(milliseconds(seconds)) ms")
    }
    boot.report(event, through: &client)
  }

  func fillRoot(_ step: Step, _ root: Step.Root, through client: inout StateClient) throws {
    guard let mode = RootModes.mode(named: root.mode) else {
      throw StepFailure(
        what: "the plan wants the root mode '\(root.mode)'; this stage 1 has "
          + RootModes.names.joined(separator: ", "),
        canRetry: false)
    }
    try mode.fill(step, root, boot: boot, through: &client)
  }

  func meanwhile() { boot.keepLease() }

  /// As process 1 it is the parent of whatever lost its own.
  func reap() {
    guard getpid() == 1 else { return }
    while waitpid(-1, nil, WNOHANG) > 0 {}
  }

  func synchronised(with generation: Digest) {}
}
