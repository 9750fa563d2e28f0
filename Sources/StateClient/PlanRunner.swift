package import CapsuleFormat
import Glibc
package import StateProtocol

/// What differs between stage 1 and the running system where a plan is followed.
package protocol PlanHost {
  /// Where the node's root is: `/newroot` in stage 1, `/` in the running node.
  var destination: String { get }
  /// A directory in memory for what was fetched and verified.
  var workDirectory: String { get }
  /// Seconds of the first wait before a step is tried again.
  var retrySeconds: Double { get }

  /// A line for the person at the console, or the journal.
  mutating func say(_ line: String)
  /// A script's output as it comes.
  func echo(_ bytes: UnsafeRawBufferPointer)
  /// An event for the appliance.
  mutating func report(_ event: StepEvent, through client: inout StateClient)
  /// Fills the root. Called for a step of kind `root`.
  mutating func fillRoot(_ step: Step, _ root: Step.Root, through client: inout StateClient) throws
  /// Called again and again while a program runs, for what cannot wait until it has ended.
  func meanwhile()
  /// Called after each program: process 1 reaps what programs left behind.
  func reap()
  /// The running node's root is that of another generation now.
  mutating func synchronised(with generation: Digest)
}

/// A plan that was not followed to its end.
package struct PlanFailure: Error, Sendable, CustomStringConvertible {
  package var step: String
  package var reason: String

  package var description: String { "step \(step): \(reason)" }
}

/// Follows a plan: fetches and verifies everything, then does the steps in their order.
package struct PlanRunner<Host: PlanHost> {
  package var host: Host
  /// How often a step with the policy `retry` is tried where the plan does not say.
  package var attempts = 3
  package var scripts = ScriptRunner()
  /// Files whose root is not there yet.
  private var deferred: [(step: Step, content: String)] = []
  private var hasRoot = false

  package init(host: Host) {
    self.host = host
  }

  /// - Throws: `PlanFailure` where a step failed whose policy does not let the plan go on.
  package mutating func follow(_ plan: Plan, through client: inout StateClient) throws(PlanFailure) {
    let contents = try fetch(plan, through: &client)
    defer { for content in contents.values { unlink(content) } }
    deferred = []
    hasRoot = !plan.steps.contains { $0.kind == .root }
    for (index, step) in plan.steps.enumerated() {
      try perform(step, content: contents[index], plan: plan, through: &client)
    }
  }

  private mutating func fetch(
    _ plan: Plan, through client: inout StateClient
  ) throws(PlanFailure) -> [Int: String] {
    var contents: [Int: String] = [:]
    var current = "plan"
    do {
      try SmallFile.makeDirectories(host.workDirectory, mode: 0o700)
      for (index, step) in plan.steps.enumerated() where step.kind != .root {
        current = step.name
        // The script's own name stays visible to it, as $0 and in ps.
        let directory = host.workDirectory + "/\(index)"
        try SmallFile.makeDirectories(directory, mode: 0o700)
        let path = directory + "/" + step.name
        contents[index] = path
        try client.fetch(step.digest, length: step.length, to: path, mode: 0o700)
      }
      return contents
    } catch {
      for content in contents.values { unlink(content) }
      let failure = PlanFailure(step: current, reason: "\(error)")
      host.report(StepEvent(step: current, outcome: .failed, detail: "not fetched: \(error)"), through: &client)
      throw failure
    }
  }

  private mutating func perform(
    _ step: Step, content: String?, plan: Plan, through client: inout StateClient
  ) throws(PlanFailure) {
    var backoff = Backoff(first: host.retrySeconds, longest: 30)
    let attempts = step.retries.map { $0 + 1 } ?? attempts
    var attempt = 1
    while true {
      host.report(StepEvent(step: step.name, outcome: .started), through: &client)
      let started = Clock.now
      var event = StepEvent(step: step.name, outcome: .done)
      do {
        try act(step, content: content, plan: plan, event: &event, through: &client)
      } catch {
        event.outcome = .failed
        event.detail = "\(error)"
      }
      event.seconds = Clock.now - started
      if event.outcome == .done {
        host.report(event, through: &client)
        return
      }
      let reason = Self.reason(event)
      let next: String
      var wait: Double?
      switch step.onFailure {
      case .goOn:
        next = "the next step is done"
      case .retry where attempt < attempts:
        let seconds = backoff.next()
        wait = seconds
        next = "tried again in \(Int(seconds.rounded(.up))) s (\(attempt) of \(attempts))"
      case .retry, .stop:
        next = "the plan stops here"
      }
      host.say("step \(step.name) failed: \(reason)")
      host.say("  \(next)")
      event.detail = [event.detail, "next: \(next)"].compactMap(\.self).joined(separator: "\n")
      host.report(event, through: &client)
      if let wait {
        attempt += 1
        Clock.sleep(wait)
        continue
      }
      if step.onFailure == .goOn { return }
      throw PlanFailure(step: step.name, reason: reason)
    }
  }

  private static func reason(_ event: StepEvent) -> String {
    let detail = event.detail?.split(whereSeparator: \.isNewline).last.map(String.init) ?? ""
    guard let code = event.exitCode else { return detail }
    return "exit code \(code)\(detail.isEmpty ? "" : ", '\(detail)'")"
  }

  private mutating func act(
    _ step: Step, content: String?, plan: Plan, event: inout StepEvent, through client: inout StateClient
  ) throws {
    switch step.kind {
    case .script:
      guard let content else { return }
      try run(content, step, environment: environment(of: plan), event: &event)
    case .file:
      guard let content else { return }
      if hasRoot {
        event.detail = try place(step, content: content)
      } else {
        deferred.append((step, content))
        event.detail = "put in place when the root is there"
      }
    case .root:
      guard let root = step.root else { return }
      try host.fillRoot(step, root, through: &client)
      hasRoot = true
      try placeDeferred(plan, through: &client)
    case .livesync:
      guard let content, let livesync = step.livesync else { return }
      try synchronise(step, livesync, content: content, plan: plan, event: &event)
    case .unknown(let kind):
      throw PlanFailure(step: step.name, reason: "kind '\(kind)' is not known here")
    }
  }

  private func environment(of plan: Plan) -> [String: String] {
    var environment = plan.environment
    environment["STATE"] = environment["STATE"] ?? plan.state
    environment["DESTDIR"] = host.destination
    environment[NodeDaemon.planVariable] = "1"
    environment["PATH"] = environment["PATH"] ?? "/usr/sbin:/usr/bin:/sbin:/bin"
    return environment
  }

  private func run(
    _ program: String, _ step: Step, environment: [String: String], event: inout StepEvent
  ) throws {
    var scripts = scripts
    if let seconds = step.timeoutSeconds { scripts.timeLimit = Double(seconds) }
    let result = try scripts.run(
      program, environment: environment, echo: { host.echo($0) }, meanwhile: { host.meanwhile() })
    host.reap()
    event.exitCode = result.exitCode
    event.detail = result.output.isEmpty ? nil : result.output
    if result.wasEnded {
      event.detail = (event.detail ?? "") + "\n(ended after \(Int(scripts.timeLimit)) s)"
    }
    if result.exitCode != 0 { event.outcome = .failed }
  }

  /// The files, then the hook; the node is of that generation once both are done.
  private mutating func synchronise(
    _ step: Step, _ livesync: Step.Livesync, content: String, plan: Plan, event: inout StepEvent
  ) throws {
    guard hasRoot, plan.state != "init" else {
      throw PlanFailure(step: step.name, reason: "a node that has not booted yet has nothing to take over")
    }
    let result = try TreeUpdate(root: host.destination).apply(content)
    var words = "generation \(livesync.number): \(result.written) written, \(result.removed) removed"
    if !result.mounted.isEmpty {
      let places = result.mounted.prefix(10).joined(separator: ", ")
      words += "; \(result.mounted.count) left alone, something is mounted there: \(places)"
    }
    if let note = livesync.note { words += "; \(note)" }
    if let hook = livesync.hook {
      var environment = environment(of: plan)
      environment["GENERATION"] = "\(livesync.number)"
      let root = host.destination == "/" ? "" : host.destination
      try run(root + hook, step, environment: environment, event: &event)
      words = event.outcome == .failed ? "\(words); its hook \(hook) failed" : words
    }
    event.detail = [words, event.detail].compactMap(\.self).joined(separator: "\n")
    if event.outcome == .done { host.synchronised(with: livesync.generation) }
  }

  /// What came before the root goes into it; each file is told of by its own step, whose policy decides.
  private mutating func placeDeferred(_ plan: Plan, through client: inout StateClient) throws {
    let files = deferred
    deferred = []
    for file in files {
      do {
        try place(file.step, content: file.content)
      } catch {
        host.say("step \(file.step.name) failed: \(error)")
        host.report(StepEvent(step: file.step.name, outcome: .failed, detail: "\(error)"), through: &client)
        if file.step.onFailure != .goOn { throw error }
      }
    }
  }

  /// - Returns: What there is to say of it.
  @discardableResult
  private func place(_ step: Step, content: String) throws -> String? {
    guard let path = step.path else { return nil }
    let bytes = try SmallFile.read(content, limit: Int(PlanCheck.contentLimit))
    let change = try FilePlacer(root: host.destination).place(
      FilePlacer.File(
        path: path, content: bytes, mode: step.mode ?? 0o644, owner: step.owner ?? "\(geteuid())",
        group: step.group ?? "\(getegid())"))
    return change == .none ? "\(path) is as it should be" : path
  }
}
