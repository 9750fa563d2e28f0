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
  /// Told how many seconds the step that begins may take at most, 0 for no bound.
  private let watch: (Double) -> Void

  package init(
    _ steps: [BootStep] = BootStep.all, boot: Boot, restart: @escaping () -> Void,
    sleep: @escaping (Double) -> Void = { Clock.sleep($0) }, now: @escaping () -> Double = { Clock.bootTime },
    watch: @escaping (Double) -> Void = { _ in }
  ) {
    self.steps = steps
    self.boot = boot
    self.restart = restart
    self.sleep = sleep
    self.now = now
    self.watch = watch
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
        watch(boot.commandLine.restartSeconds > 0 ? step.hangSeconds ?? 0 : 0)
        defer { watch(0) }
        try step.run(boot)
        let seconds = now() - started
        boot.keep(StepEvent(step: step.name, outcome: .done, seconds: seconds))
        boot.say("\(step.name) done in \(milliseconds(seconds)) ms")
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
      } catch let lost as NoWayBack {
        let wait = Double.random(in: 15...30)
        let words = "the machine restarts in \(Int(wait.rounded(.up))) s: from here nothing can be tried again"
        boot.say("\(step.name) failed: \(lost.reason)")
        boot.say("  \(words)")
        boot.report(
          StepEvent(
            step: step.name, outcome: .failed, seconds: now() - started, detail: "\(lost.reason)\nnext: \(words)"))
        sleep(wait)
        restart()
        return
      } catch {
        // A step may have waited for long before it failed, as who is held does.
        let since = failingSince ?? now()
        failingSince = since
        guard let shellSeconds = fail(step, error, seconds: now() - started, since: since) else { return }
        // While a person has the machine it is not failing.
        failingSince = since + shellSeconds
        next = steps.firstIndex { $0.name == step.retryFrom ?? step.name } ?? next
      }
    }
  }

  /// - Returns: Seconds that a person's shell took before it is tried again; `nil` where it is not.
  private mutating func fail(_ step: BootStep, _ error: any Error, seconds: Double, since: Double) -> Double? {
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
      return nil
    }
    guard boot.commandLine.wantsShell else {
      sleep(wait)
      return 0
    }
    let opened = now()
    Shell.run(boot, because: "\(step.name) failed")
    let shellSeconds = now() - opened
    if shellSeconds < wait { sleep(wait - shellSeconds) }
    return shellSeconds
  }
}
