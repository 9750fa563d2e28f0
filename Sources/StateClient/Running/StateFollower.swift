import CapsuleFormat
import Glibc
package import StateProtocol

/// Reports a node's states, one after the other as the plans say, to the first appliance of its list that answers.
///
/// For use by one thread.
package struct StateFollower: ~Copyable {
  private var record: NodeRecord
  /// Where the lease, the lock and what is fetched are: in memory.
  private let directory: String
  private var appliances: [Endpoint]
  private let timeouts: HTTPTimeouts
  private var client: StateClient
  private var current = 0
  /// Appliances that failed one after the other.
  private var failures = 0
  private var backoff: Backoff
  private var interval: Int?
  private var hops = 0
  private var isAccepted = false
  private var reporter = EventReporter()
  package private(set) var state: String

  /// Seconds between reports where nobody says another number.
  private static let usualInterval = 300
  /// Seconds that another client may take for its plan.
  private static let lockSeconds = 900.0

  /// - Parameter backoff: Between tries where no appliance answers; tests put their own here.
  package init(
    _ record: NodeRecord, directory: String = "/run/perseid", timeouts: HTTPTimeouts = HTTPTimeouts(),
    backoff: Backoff = Backoff(first: 1, longest: 60)
  ) {
    self.record = record
    self.directory = directory
    self.timeouts = timeouts
    self.backoff = backoff
    appliances = Self.list(Endpoint(address: record.server, port: record.port), record.otherServers ?? [])
    client = StateClient(server: appliances[0], timeouts: timeouts)
    state = record.nextState
    interval = record.intervalSeconds
  }

  package var server: Endpoint { client.server }

  private static func list(_ first: Endpoint, _ others: [NodeRecord.Server]) -> [Endpoint] {
    var list = [first]
    for endpoint in others.prefix(NodeRecord.serverLimit).map(Endpoint.init) where !list.contains(endpoint) {
      list.append(endpoint)
    }
    return list
  }

  /// The appliance that has answered names the others; the record says so to the next client of this node.
  private mutating func learn(_ others: [NodeRecord.Server]) {
    let known = Self.list(server, others)
    guard known != appliances || current != 0 else { return }
    appliances = known
    current = 0
    record.server = server.address
    record.port = server.port
    record.otherServers = known.dropFirst().map { NodeRecord.Server(address: $0.address, port: $0.port) }
    keep("the appliances' list")
  }

  private func keep(_ what: String) {
    do {
      try SmallFile.write(directory + "/node.json", try ProtocolJSON.encode(record))
    } catch {
      Journal.say("\(what) was not kept: \(error)", .warning)
    }
  }

  /// Reports the state that is due, and follows its plan.
  /// - Returns: Seconds until the next one is due.
  package mutating func turn() -> Double {
    do {
      let plan = try exchange(state)
      failures = 0
      if !isAccepted {
        ServiceManager.notify("READY=1\nSTATUS=state \(state) accepted by \(client.server)\n")
        Journal.say("state '\(state)' accepted by \(client.server)", .notice)
        isAccepted = true
      }
      backoff.reset()
      // Nodes that were started together drift apart.
      return pause(after: plan) * Double.random(in: 0.9...1.1)
    } catch {
      return pause(after: error)
    }
  }

  private mutating func pause(after plan: Plan) -> Double {
    interval = plan.intervalSeconds ?? interval
    let usual = Double(max(interval ?? Self.usualInterval, 1))
    if let pause = plan.wait {
      Journal.say("the appliance says to wait \(pause.seconds) s: \(pause.reason)")
      return Double(max(pause.seconds, 1))
    }
    guard let next = plan.nextState, next != state else {
      hops = 0
      return usual
    }
    state = next
    if (plan.nextSeconds ?? 0) > 0 { hops = 0 }
    hops += 1
    // States that lead to one another without a pause must not keep node and appliance busy.
    return hops > 16 ? usual : Double(plan.nextSeconds ?? 0)
  }

  private mutating func pause(after error: any Error) -> Double {
    Journal.say("state '\(state)': \(error)", .warning)
    // A plan that this node could not follow is no better from another appliance.
    if error is StateClientError, appliances.count > 1 {
      failures += 1
      current = (current + 1) % appliances.count
      client = StateClient(server: appliances[current], timeouts: timeouts)
      isAccepted = false
      if failures < appliances.count {
        Journal.say("  reported to \(client.server) now", .warning)
        return 0
      }
      failures = 0
    }
    let wait = backoff.next()
    Journal.say("  reported again to \(client.server) in \(Int(wait.rounded(.up))) s", .warning)
    return wait
  }

  /// Reports one state once, to the first appliance that answers, and follows its plan.
  package mutating func report(_ state: String) throws -> Plan {
    var last: any Error = NodeDaemonError(description: "there is no appliance to report to")
    for index in appliances.indices {
      if index > 0 {
        Journal.say("\(last)", .warning)
        client = StateClient(server: appliances[index], timeouts: timeouts)
      }
      do {
        return try exchange(state)
      } catch let error as StateClientError {
        last = error
      }
    }
    throw last
  }

  /// One plan at a time: while another client of this node follows one, this one waits.
  private mutating func exchange(_ state: String) throws -> Plan {
    let lock = try OpenFile(directory + "/client.lock", flags: O_RDWR | O_CREAT, mode: 0o600)
    try take(lock)
    let lease = (try? SmallFile.read(directory + "/lease.json")).flatMap {
      try? ProtocolJSON.decode(LeaseRecord.self, from: $0, limit: NodeRecord.sizeLimit)
    }
    var facts = MachineFacts.read(generation: record.generation)
    facts.steps = [Step.Kind.livesync.text]
    let report = StateReport(
      state: state, boot: record.boot, hardwareAddresses: record.hardwareAddresses, address: lease?.address,
      facts: facts)
    let plan = try client.report(report)
    if let others = plan.otherServers { learn(others) }
    guard plan.wait == nil else { return plan }
    var runner = PlanRunner(
      host: RunningNode(record: record, state: state, workDirectory: directory + "/work", reporter: reporter))
    defer {
      reporter = runner.host.reporter
      if let generation = runner.host.generation {
        record.generation = generation.description
        keep("the generation that was taken over")
      }
    }
    try runner.follow(plan, through: &client)
    runner.host.flush(through: &client)
    return plan
  }

  private func take(_ lock: borrowing OpenFile) throws {
    let start = Clock.now
    while flock(lock.descriptor, LOCK_EX | LOCK_NB) != 0 {
      guard errno == EWOULDBLOCK || errno == EINTR else { throw SystemError("lock \(directory)/client.lock") }
      guard Clock.now - start < Self.lockSeconds else {
        throw NodeDaemonError(
          description: "another perseid-node has followed a plan for \(Int(Self.lockSeconds)) s; "
            + "perseid node status on the appliance shows the step it is in")
      }
      Clock.sleep(0.1)
    }
  }
}
