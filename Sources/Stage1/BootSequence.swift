import StateClient
import StateProtocol

/// Runs the steps: the one loop in which stage 1 reports, backs off, tries again, and in the end restarts.
package struct BootSequence {
  private let steps: [BootStep]
  private let boot: Boot
  private var backoff = Backoff(first: 1, longest: 30)
  /// What happens when failure lasts too long, and how time passes: tests put their own here.
  private let restart: () -> Void
  private let sleep: (Double) -> Void
  private let now: () -> Double

  package init(
    _ steps: [BootStep] = BootStep.all, boot: Boot, restart: @escaping () -> Void,
    sleep: @escaping (Double) -> Void = { Clock.sleep($0) }, now: @escaping () -> Double = { Clock.bootTime }
  ) {
    self.steps = steps
    self.boot = boot
    self.restart = restart
    self.sleep = sleep
    self.now = now
  }

  /// Runs every step to its success. Returns only where the last step does, or after `restart`.
  package mutating func run() {
    var next = 0
    // Failure lasts from the first one until a step succeeds that has not succeeded before.
    var furthest = 0
    var failingSince: Double?
    while next < steps.count {
      let step = steps[next]
      let started = now()
      do {
        boot.debug("\(step.name): \(step.purpose)?")
        try step.run(boot)
        let seconds = now() - started
        boot.keep(StepEvent(step: step.name, outcome: .done, seconds: seconds))
        boot.say("\(step.name) done in \(Int(seconds * 1000)) ms")
        next += 1
        if next > furthest {
          furthest = next
          failingSince = nil
          backoff.reset()
        }
      } catch let needed as RestartNeeded {
        boot.report(StepEvent(step: step.name, outcome: .done, detail: "the machine restarts: \(needed.reason)"))
        restart()
        return
      } catch {
        let since = failingSince ?? started
        failingSince = since
        guard fail(step, error, seconds: now() - started, since: since) else { return }
        next = steps.firstIndex { $0.name == step.retryFrom ?? step.name } ?? next
      }
    }
  }

  /// - Returns: Whether to try again.
  private mutating func fail(_ step: BootStep, _ error: any Error, seconds: Double, since: Double) -> Bool {
    let wait = backoff.next()
    let limit = boot.commandLine.restartSeconds
    let isOver = limit > 0 && now() + wait - since >= limit
    let nextWords =
      isOver
      ? "the machine restarts now: this has gone on for \(Int(now() - since)) s"
      : "tried again in \(Int(wait.rounded(.up))) s"
        + (limit > 0 ? "; the machine restarts if this lasts \(Int(limit)) s" : "")
    boot.say("\(step.name) failed: \(error)")
    boot.say("  \(nextWords)")
    boot.report(
      StepEvent(step: step.name, outcome: .failed, seconds: seconds, detail: "\(error)\nnext: \(nextWords)"))
    if isOver {
      restart()
      return false
    }
    if boot.commandLine.wantsShell { Shell.run(boot, because: "\(step.name) failed") }
    sleep(wait)
    return true
  }
}
